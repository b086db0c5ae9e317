"""Reads what lies deep in a line or in the run's configuration, and who answers at an endpoint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

# Domains of endpoints, and how the sellers behind them are called.
_SELLERS: Final = {
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "openrouter.ai": "openrouter",
    "googleapis.com": "google",
    "deepseek.com": "deepseek",
    "x.ai": "x-ai",
    "mistral.ai": "mistral",
    "groq.com": "groq",
    "cerebras.ai": "cerebras",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "moonshot.ai": "moonshotai",
    "moonshot.cn": "moonshotai",
    "z.ai": "zai",
    "bigmodel.cn": "zhipuai",
    "minimax.io": "minimax",
    "azure.com": "azure",
    "amazonaws.com": "aws",
}


def inside(value: Any, *keys: str) -> Any:
    """What lies at the end of `keys` in nested objects; None where they lead nowhere."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@lru_cache(maxsize=256)
def seller(base_url: str | None) -> str | None:
    """Who answers at an endpoint: a known seller, else its host; a pool of several has no name."""
    hosts = {_host(url) for url in (base_url or "").split(",")} - {None}
    names = {_SELLERS.get(_domain(host or ""), host) for host in hosts}
    return names.pop() if len(names) == 1 else None


def _host(url: str) -> str | None:
    """Host and port, without the user name and password that may stand before them."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    return parts.netloc.rpartition("@")[2].lower() or None


def _domain(host: str) -> str:
    return ".".join(host.partition(":")[0].split(".")[-2:])
