"""Tells by the outermost keys whether a file holds rollouts or describes their run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from tallybook.sources.lines import Head
from tallybook.values import decode

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]:,]', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"
_SPACE: Final = b" \t\r\n"


class Outline(NamedTuple):
    """Keys with the first byte of their values, where the last whole member ends, and the rest."""

    members: dict[bytes, bytes]
    whole: int  # offset behind the last member that is followed by another or by the end
    is_closed: bool


def outline(head: bytes, start: int = 0) -> Outline:
    """The outline of the object that begins at `start` (there stands a brace)."""
    members: dict[bytes, bytes] = {}
    depth, whole, key = 0, start + 1, b""
    for token in _TOKEN.finditer(head, start):
        sign = token[0]
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
            if depth <= 0:
                return Outline(members, token.start(), is_closed=True)
        elif depth != 1:
            continue
        elif sign == b":":
            members[_name(key)] = _next(head, token.end())
        elif sign == b",":
            whole = token.start()
        else:
            key = sign
    return Outline(members, whole, is_closed=False)


def _name(key: bytes) -> bytes:
    if b"\\" not in key:
        return key[1:-1]
    name = decode(key)
    return name.encode("utf-8", "replace") if isinstance(name, str) else key[1:-1]


def _next(head: bytes, position: int) -> bytes:
    while head[position : position + 1] in _SPACE and position < len(head):
        position += 1
    return head[position : position + 1]


def whole_members(head: bytes) -> bytes:
    """The object that `head` begins with, closed behind the last member that is there in full."""
    start = head.find(b"{")
    return head[start : outline(head, start).whole] + b"}" if start >= 0 else b"{}"


# Every layout has one of these; most files of other tools are told by having none.
_KEYS: Final = frozenset(
    {"traces", "nodes", "trajectory", "example_id", "rollouts_per_example", "completion", "task"}
)
_MARKER: Final = re.compile(rb'"(?:' + "|".join(sorted(_KEYS)).encode() + rb')"\s*:')
_LOOKED_AT: Final = 20  # lines; the first ones may be broken
_TRACE_ID: Final = re.compile(rb'"id"\s*:\s*"[0-9a-f]{32}"')
_TASK: Final = re.compile(
    rb'"task"\s*:\s*\{(?:\s*"type"\s*:\s*"[^"]*"\s*,\s*"data"|[^{}]*"idx")\s*:'
)
_DIGITS: Final = frozenset(b"%d" % digit for digit in range(10))
_SIGNS: Final[dict[type, bytes]] = {str: b'"', dict: b"{", list: b"["}


def sniff(head: Head) -> bool:
    """Whether a file begins like rollouts of any layout, or like the description of a run."""
    if not _may_be_ours(head):
        return False
    found = [
        _is_rollout(outlined.members)
        or _is_description(outlined.members)
        or (not outlined.is_closed and _is_cut_trace(content, outlined))
        for content, outlined in _objects(head)
    ]
    return 2 * sum(found) >= max(len(found), 1)


def _may_be_ours(head: Head) -> bool:
    """Decoded lines tell at once; what is no object by itself may be cut off."""
    found = list(head.objects(_LOOKED_AT))
    if len(found) == len(head.lines[:_LOOKED_AT]):
        return any(not _KEYS.isdisjoint(value) for value in found)
    return _MARKER.search(head.content) is not None


def is_description(head: Head) -> bool:
    """Whether a file that begins like this is the description of a run, one JSON document."""
    if not _may_be_ours(head):
        return False
    found = next(iter(_objects(head)), None)
    return found is not None and _is_description(found[1].members)


def _objects(head: Head) -> Iterator[tuple[bytes, Outline]]:
    """The objects on the first lines, or the one that takes all of the lines."""
    values = head.values(_LOOKED_AT)
    for number, (line, value) in enumerate(zip(head.lines, values, strict=False)):
        if number == 0 and line.strip() == b"{":
            yield head.content, outline(head.content, head.content.index(b"{"))
            return
        if isinstance(value, dict):
            yield line, _of_decoded(value)
        elif line.lstrip().startswith(b"{"):
            yield line, outline(line, line.index(b"{"))


def _of_decoded(value: dict[str, Any]) -> Outline:
    """As `outline`, of what was decoded already; where its last member ends is not told."""
    members = {name.encode("utf-8", "replace"): _begin(each) for name, each in value.items()}
    return Outline(members, 0, is_closed=True)


def _begin(value: object) -> bytes:
    """The byte that a value begins with, as far as it tells a layout: any digit for any number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"0" if value >= 0 else b"-"
    return _SIGNS.get(type(value), b"")


def _is_rollout(members: dict[bytes, bytes]) -> bool:
    """An episode, a trace, a rollout of turns, or a rollout of the older generation."""
    if members.get(b"id") == b'"':
        if members.get(b"traces") == b"[" and b"nodes" not in members:
            return b"ok" in members or b"env" in members
        if members.get(b"task") == b"{" and members.get(b"nodes") == b"[":
            return True
        if members.get(b"task") == b"{" and members.get(b"trajectory") == b"[":
            return b"rewards" in members or b"branches" in members
    if b"example_id" in members:
        return not members.keys().isdisjoint({b"prompt", b"completion", b"reward"})
    return members.get(b"id") in _DIGITS and {b"prompt", b"completion", b"reward"} <= members.keys()


def _is_description(members: dict[bytes, bytes]) -> bool:
    is_run = {b"model", b"num_examples", b"rollouts_per_example"} <= members.keys()
    return is_run and (b"env_id" in members or b"env" in members) and b"id" not in members


def _is_cut_trace(head: bytes, found: Outline) -> bool:
    """A task or an image in it may be longer than the head."""
    is_task = found.members.get(b"task") == b"{"
    return is_task and bool(_TRACE_ID.search(head)) and bool(_TASK.search(head))


# A run keeps its settings in the first, since 2026-08-13 below `configs`, from 0.3.1 on the whole
# of them in `resolved`. The older generation keeps its results in the last; an uploader puts that
# beside runs of either.
_KINDS: Final = ("eval", "gepa", "debug", "replay")
_NEIGHBOURS: Final = (
    "config.toml",
    *(f"configs/resolved/{name}.json" for name in _KINDS),
    *(f"configs/{name}.json" for name in _KINDS),
    "metadata.json",
)
_ROLLOUTS: Final = frozenset({"results.jsonl", "traces.jsonl"})


def neighbours(name: str) -> Sequence[str]:
    """Files beside a file of rollouts that may describe its run, the likeliest first."""
    return _NEIGHBOURS if name in _ROLLOUTS else ()
