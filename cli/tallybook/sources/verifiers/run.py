"""What the folder of a run and the file beside its rollouts say: model, seller, settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tallybook.dialects.served import SELLERS, domain_of, told_by_address
from tallybook.dialects.shape import at, follow
from tallybook.sources.contract import FileFacts
from tallybook.sources.verifiers.sniff import whole_members
from tallybook.values import MAX_COUNT, UUID, decode, instant, text

_RUN_ID: Final = re.compile(rf"[0-9a-f]{{8}}|{UUID.pattern}", re.IGNORECASE)
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_FIRST_WITH_CLIENTS: Final = (0, 1, 11)  # older ones spoke OpenAI's protocol only
_TABLE: Final = b"\n["
_PROJECT: Final = at("env_id", "env/id", "env", "env/taskset/id", "taskset/id", "legacy/id", "id")
_PRESET: Final = "pinference.ai"  # the gateway that the program is set to


class Run(msgspec.Struct, frozen=True):
    """A run, as far as anything but its rollouts tells."""

    id: str | None = None  # from the folder
    project: str | None = None  # the environment, or the set of tasks
    model: str | None = None
    provider: str | None = None  # who answers the model's calls
    has_endpoint: bool = False  # it is known where they went
    judges: dict[str, str | None] = {}  # models, and who answers for each
    judge_model: str | None = None  # of the only one
    is_replay: bool = False  # old answers, judged again
    is_bridged: bool = False  # an environment of the older generation in a run of the newer
    is_openai_only: bool = False
    saved: datetime | None = None  # without a zone in the file
    mean_input: float | None = None
    mean_output: float | None = None
    cost: float | None = None


def describe(facts: FileFacts) -> Run:
    """The run whose rollouts are in the file."""
    identifier, folder = _place(facts.parts[:-1])
    settings = _settings(facts.neighbour or b"")
    # An endpoint may have a key in it, so no more than its seller is remembered.
    endpoint = text(follow(settings, ("client", "base_url"))) or text(settings.get("base_url"))
    judges = dict(_judges(settings))
    return Run(
        id=identifier,
        project=_project(settings) or _prefix(folder),
        model=text(settings.get("model")),
        provider=seller(endpoint),
        has_endpoint=endpoint is not None,
        judges=judges,
        judge_model=next(iter(judges)) if len(judges) == 1 else None,
        is_replay="num_rescores" in settings or (folder or "").endswith("--replay"),
        is_bridged=_is_bridged(settings),
        is_openai_only=_is_openai_only(settings),
        saved=_saved(settings),
        mean_input=_number(follow(settings, ("usage", "input_tokens"))),
        mean_output=_number(follow(settings, ("usage", "output_tokens"))),
        cost=_number(follow(settings, ("cost", "total_usd"))),
    )


def _place(folders: Sequence[str]) -> tuple[str | None, str | None]:
    """Id of the run, and the folder that names its environment, model and harness."""
    if not folders:
        return None, None
    if _RUN_ID.fullmatch(folders[-1]):
        return folders[-1], folders[-2] if len(folders) > 1 else None
    named = folders[-1] if "--" in folders[-1] else None
    return named, named


def _prefix(folder: str | None) -> str | None:
    return folder.partition("--")[0] or None if folder and "--" in folder else None


def _settings(content: bytes) -> dict[str, Any]:
    """The settings as TOML or JSON; of a long file that was cut short, its whole members."""
    if content.lstrip().startswith(b"{"):
        found = decode(content) or decode(whole_members(content))
        return found if isinstance(found, dict) else {}
    return _toml(content) or _toml(content[: content.rfind(_TABLE) + 1])


def _toml(content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):  # a number of 5,000 digits is no TOMLDecodeError
        return {}


def _project(settings: dict[str, Any]) -> str | None:
    stated = (text(follow(settings, path)) for path in _PROJECT)
    return next(filter(None, stated), None)


def _judges(settings: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Model and seller of every judge that the tasks are set up with."""
    for root in (settings, settings.get("env")):
        task = follow(root, ("taskset", "task"))
        listed = follow(task, ("judges",))
        for judge in [follow(task, ("judge",)), *(listed if isinstance(listed, list) else [])]:
            model = text(follow(judge, ("model",)))
            if model is not None:
                yield model, seller(text(follow(judge, ("base_url",))))


def _is_bridged(settings: dict[str, Any]) -> bool:
    named = text(follow(settings, ("legacy", "id"))) or text(settings.get("id"))
    tasks = follow(settings, ("env", "taskset", "id")) or follow(settings, ("taskset", "id"))
    return named is not None and not text(tasks)


def _is_openai_only(settings: dict[str, Any]) -> bool:
    found = _VERSION.match(text(follow(settings, ("version_info", "vf_version"))) or "")
    return found is not None and tuple(map(int, found.groups())) < _FIRST_WITH_CLIENTS


def _saved(settings: dict[str, Any]) -> datetime | None:
    """The first builds wrote a date and a time of day, in nobody knows what zone."""
    day, clock = text(settings.get("date")), text(settings.get("time"))
    return instant(f"{day}T{clock}") if day and clock else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= MAX_COUNT else None


@lru_cache(maxsize=256)
def seller(base_url: str | None) -> str | None:
    """Who answers at an endpoint: a known seller, else its host; a pool of several has no name."""
    urls = map(str.strip, (base_url or "").split(","))
    names = {told_by_address(url) or _host(url) for url in urls} - {None}
    return names.pop() if len(names) == 1 else None


def is_seller(name: str | None) -> bool:
    """Whether it is somebody who sells models, or the gateway that the program is set to."""
    return name is not None and (name in SELLERS.values() or domain_of(name) == _PRESET)


def _host(url: str) -> str | None:
    """Host and port, without the user name and password that may stand before them."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.netloc.rpartition("@")[2].lower() or None
