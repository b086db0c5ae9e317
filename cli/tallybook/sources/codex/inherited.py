"""Tells whose a line is, in a file that may begin with a copy of another thread's history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from tallybook.schema import AFTER_TURN, BEFORE_TURN, INHERITED, OWN
from tallybook.values import count, instant, text, uuid_time


class Boundary(msgspec.Struct, array_like=True):
    """What the lines so far say about where the thread's own part begins."""

    born: datetime | None = None  # when the thread came to be, to the millisecond
    by_user: bool = False  # a user forked it, no agent
    start_ordinal: int | None = None  # first own line, as the header states it
    ancestors: list[str] = msgspec.field(default_factory=list)
    foreign_header: bool = False
    named: str | None = None  # OWN or INHERITED, by the last line that named a thread
    ever_named: bool = False
    turn_begun: bool = False
    turn_proved: bool = False  # its id, which tells when it began, is younger than the thread
    turn_copied: bool = False  # the id of the last turn is older than the thread
    task_open: bool = False  # a task started and no turn has taken it up yet
    task_turn_id: str | None = None
    task_started: datetime | None = None  # to the second


def inherits(boundary: Boundary) -> bool:
    """Whether the file may hold lines of another thread at all."""
    return bool(boundary.ancestors)


def history(boundary: Boundary, ordinal: Any) -> str:
    """Whose a line without a thread id is: OWN, INHERITED, BEFORE_TURN or AFTER_TURN."""
    if not boundary.ancestors:
        return OWN
    if boundary.named is not None:
        return boundary.named
    place = count(ordinal, [])
    if boundary.start_ordinal is None or place is None:
        return AFTER_TURN if boundary.turn_begun else BEFORE_TURN
    if place >= boundary.start_ordinal:
        return OWN
    # A migration sets the ordinal behind the last line of a file, own turns included.
    return AFTER_TURN if boundary.turn_proved else INHERITED


def is_own(whose: str) -> bool:
    """Whether context such as the model is taken from a line of that history."""
    return whose in (OWN, AFTER_TURN)


def is_guess(boundary: Boundary, whose: str) -> bool:
    """Whether only the stated ordinal calls a line inherited, which a migration sets too high."""
    if whose != INHERITED:
        return False
    return not (boundary.ever_named or boundary.foreign_header or boundary.turn_copied)


def add_ancestor(boundary: Boundary, thread_id: str | None) -> None:
    """Notes a thread whose history the file may hold; earlier rows keep the list they have."""
    if thread_id is not None and thread_id not in boundary.ancestors:
        boundary.ancestors = [*boundary.ancestors, thread_id]


def name_thread(boundary: Boundary, thread_id: Any, own_id: str | None) -> str | None:
    """Takes note of a thread id on a line; OWN or INHERITED, None where the line has no id."""
    named = text(thread_id)
    if named is None or own_id is None:
        return None
    boundary.named = OWN if named == own_id else INHERITED
    boundary.ever_named = True
    if named != own_id:
        add_ancestor(boundary, named)
    return boundary.named


def meet_foreign_header(boundary: Boundary, thread_id: str) -> None:
    """Another thread's header: a copied prefix begins, and nothing yet says where it ends."""
    add_ancestor(boundary, thread_id)
    boundary.foreign_header = True
    boundary.named = None
    boundary.turn_begun = boundary.turn_proved = False
    _close_task(boundary)


def begin_task(boundary: Boundary, turn_id: Any, started_at: Any) -> None:
    """Takes note of a `task_started`; only what follows tells whose it is."""
    boundary.task_open = True
    boundary.task_turn_id = text(turn_id)
    boundary.task_started = instant(started_at)
    _date_turn(boundary, boundary.task_turn_id)


def begin_turn(boundary: Boundary, turn_id: Any) -> None:
    """A `turn_context` ends the copied prefix where its turn is younger than the thread."""
    _date_turn(boundary, text(turn_id))
    if _is_own_turn(boundary, text(turn_id)):
        _end_prefix(boundary)
    _close_task(boundary)


def _date_turn(boundary: Boundary, turn_id: str | None) -> None:
    turn, born = uuid_time(turn_id), boundary.born
    if turn is not None and born is not None:
        boundary.turn_copied = turn < born
        boundary.turn_proved = boundary.turn_proved or turn > born


def trigger_turn(boundary: Boundary) -> None:
    """A message of another agent that triggers the task before it ends the copied prefix."""
    if boundary.task_open and not is_older(boundary, boundary.task_turn_id):
        started, born = boundary.task_started, boundary.born
        if started is None or born is None or started >= born.replace(microsecond=0):
            _end_prefix(boundary)


def is_older(boundary: Boundary, turn_id: Any) -> bool:
    """Whether a turn was begun before the thread was, so that it can only be a copy."""
    turn, born = uuid_time(turn_id), boundary.born
    return inherits(boundary) and turn is not None and born is not None and turn < born


def _is_own_turn(boundary: Boundary, turn_id: str | None) -> bool:
    turn, born, task = uuid_time(turn_id), boundary.born, boundary.task_turn_id
    if born is None:
        return False
    if turn is not None and turn != born:
        return turn > born
    if turn is not None:
        return boundary.by_user or (boundary.task_open and task == turn_id)
    same_turn = boundary.task_open and (task is None or turn_id is None or task == turn_id)
    started = boundary.task_started
    return same_turn and started is not None and started >= born.replace(microsecond=0)


def _end_prefix(boundary: Boundary) -> None:
    if inherits(boundary):
        boundary.turn_begun = True
        # The name on a copied line says nothing about lines that follow an own turn.
        if boundary.named == INHERITED:
            boundary.named = None


def _close_task(boundary: Boundary) -> None:
    boundary.task_open = False
    boundary.task_turn_id = boundary.task_started = None
