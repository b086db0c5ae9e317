"""Reads single values of a line or of the run's configuration: texts, times, money, endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from tallybook.sources.lines import MAX_COUNT

_SCALE: Final = Decimal("1e-15")  # the scale of money columns
_SECONDS_UNTIL: Final = 10**10  # the year 2286; past it a number is no time in seconds
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


def text(value: Any) -> str | None:
    """A text that says something; anything else is None."""
    return value if isinstance(value, str) and value and not value.isspace() else None


def inside(value: Any, *keys: str) -> Any:
    """What lies at the end of `keys` in nested objects; None where they lead nowhere."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def moment(value: Any) -> datetime | None:
    """The UTC time of Unix seconds; 0 is what is written where nothing was measured, so None."""
    if value.__class__ is not float and value.__class__ is not int:
        return None
    return datetime.fromtimestamp(value, UTC) if 0 < value < _SECONDS_UNTIL else None


def money(value: Any, problems: list[str]) -> Decimal | None:
    """US dollars from 0; anything else but an absent value is None and a `bad-number`."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        try:
            # The shortest text that reads back as this float is what the log had.
            return Decimal(repr(value)).quantize(_SCALE)
        except InvalidOperation:
            pass
    problems.append("bad-number")
    return None


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


def is_claude(model: str | None) -> bool:
    """Whether the model's name is one of Anthropic's."""
    return model is not None and "claude" in model.lower()
