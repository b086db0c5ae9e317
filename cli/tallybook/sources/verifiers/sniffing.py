"""Tells by the outermost keys whether a file holds rollouts or describes their run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tallybook.sources.verifiers.outline import Outline, outline

# Every layout has one of these; most files of other tools are told by having none.
_MARKER: Final = re.compile(
    rb'"(?:traces|nodes|trajectory|example_id|rollouts_per_example|completion|task)"\s*:'
)
_LOOKED_AT: Final = 20  # lines; the first ones may be broken
_HEAD_BYTES: Final = 256 << 10  # a line may be a thousand times as long
_TRACE_ID: Final = re.compile(rb'"id"\s*:\s*"[0-9a-f]{32}"')
_TASK: Final = re.compile(
    rb'"task"\s*:\s*\{(?:\s*"type"\s*:\s*"[^"]*"\s*,\s*"data"|[^{}]*"idx")\s*:'
)
_DIGITS: Final = frozenset(b"%d" % digit for digit in range(10))


def sniff(head: bytes) -> bool:
    """Whether a file begins like rollouts of any layout, or like the description of a run."""
    if _MARKER.search(head) is None:
        return False
    return any(
        _is_rollout(found.members)
        or _is_description(found.members)
        or (not found.is_closed and _is_cut_trace(content, found))
        for content, found in _objects(head)
    )


def is_description(block: bytes) -> bool:
    """Whether a file that begins like this is the description of a run, one JSON document."""
    found = next(iter(_objects(block[:_HEAD_BYTES])), None)
    return found is not None and _is_description(found[1].members)


def _objects(head: bytes) -> Iterator[tuple[bytes, Outline]]:
    """The objects on the first lines, or the one that takes all of the lines."""
    begun = (line for line in head.split(b"\n", _LOOKED_AT)[:_LOOKED_AT] if line.strip())
    for number, line in enumerate(begun):
        if number == 0 and line.strip() == b"{":
            yield head, outline(head, head.index(b"{"))
            return
        if line.lstrip().startswith(b"{"):
            yield line, outline(line, line.index(b"{"))


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
