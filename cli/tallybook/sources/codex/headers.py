"""Takes from `session_meta`, `turn_context` and settings lines what is said of the thread."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from tallybook.sources.codex import inherited as bounds
from tallybook.sources.codex.lines import Line, Payload
from tallybook.sources.codex.state import REMEMBERED_IDS, Context, State
from tallybook.values import count, inside, instant, party, text, uuid_time

SUBAGENT: Final = "subagent"
_TIERS: Final = {"fast": "priority", "standard": "default"}
_OWN_PROVIDERS: Final = frozenset({None, "openai", "azure"})
_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})\.")
_FIRST_WITH_RECORDS: Final = (0, 153)
_CALLERS: Final = {"guardian_review": "guardian", "memory_consolidation": "memory_consolidation"}


def tier(value: Any) -> str | None:
    """A service tier in one spelling; None where none is stated."""
    stated = text(value)
    return None if stated is None else _TIERS.get(stated, stated)


def take_header(state: State, line: Line, payload: Payload, record: int) -> None:
    """A `session_meta`: the first one is the thread's, a later one of another id is copied."""
    stated, thread = text(payload.id), state.thread
    known = thread.id if thread.headed or record > 1 else None
    if stated is not None and known is not None and stated != known:
        bounds.meet_foreign_header(state.boundary, stated)
    elif thread.headed:
        bounds.name_thread(state.boundary, stated, thread.id)
    else:
        _take_first_header(state, line, payload, stated)


def _take_first_header(state: State, line: Line, payload: Payload, stated: str | None) -> None:
    thread, boundary = state.thread, state.boundary
    parent = _spawned_by(payload)
    thread.headed = True
    state.keeps_records = _version(payload.cli_version) >= _FIRST_WITH_RECORDS
    thread.id = stated or thread.id
    thread.begun = instant(line.timestamp)
    thread.caller = _caller(payload, parent)
    thread.parent_thread_id = parent
    thread.root_thread_id = _root(payload, thread.id, parent)
    thread.project = text(payload.cwd)
    thread.provider = party(payload.model_provider)
    if payload.history_base is not None:
        thread.continues = True
        thread.segment_id = thread.segment_id or text(payload.timestamp) or text(line.timestamp)
    boundary.by_user = payload.thread_source == "user"
    boundary.start_ordinal = count(payload.subagent_history_start_ordinal, [])
    boundary.born = _born(thread.id, payload, line)
    for ancestor in (text(payload.forked_from_id), parent, text(payload.parent_thread_id)):
        if ancestor != thread.id:
            bounds.add_ancestor(boundary, ancestor)


def is_routed(model: str | None, provider: str | None) -> bool:
    """Whether a call may have gone through a router: a prefix before the model, a provider's name
    of the user's own.
    """
    return "/" in (model or "") or provider not in _OWN_PROVIDERS


def _version(stated: Any) -> tuple[int, ...]:
    """The first two numbers of a version; nothing where it does not begin with two."""
    found = _VERSION.match(text(stated) or "")
    return (int(found[1]), int(found[2])) if found else ()


def _born(thread_id: str | None, payload: Payload, line: Line) -> datetime | None:
    """When the thread came to be; ids, which it is compared with, are as fine as milliseconds."""
    created = instant(payload.timestamp) or instant(line.timestamp)
    if (by_id := uuid_time(thread_id)) is not None or created is None:
        return by_id
    return created.replace(microsecond=created.microsecond // 1000 * 1000)


def _spawned_by(payload: Payload) -> str | None:
    """The thread that spawned this one; a fork by the user is nobody's sub-agent."""
    subagent = inside(payload.source, "subagent")
    spawning = text(inside(inside(subagent, "thread_spawn"), "parent_thread_id"))
    is_fork = subagent is None and payload.thread_source == "user"
    return spawning or (None if is_fork else text(payload.parent_thread_id))


def _root(payload: Payload, thread_id: str | None, parent: str | None) -> str | None:
    stated = text(payload.session_id)
    return stated if parent is not None or stated == thread_id else None


def _caller(payload: Payload, parent: str | None) -> str | None:
    """Who asks in the thread: None is the lead."""
    subagent = inside(payload.source, "subagent")
    named = text(subagent) or text(inside(payload.source, "internal"))
    named = named or text(inside(subagent, "other")) or _CALLERS.get(str(payload.thread_source))
    if named is not None:
        return named
    if subagent is None and parent is None and payload.thread_source != SUBAGENT:
        return None
    role = inside(inside(subagent, "thread_spawn"), "agent_role")
    return text(role) or text(payload.agent_role) or SUBAGENT


def take_turn(state: State, line: Line, payload: Payload) -> None:
    """A `turn_context`: the model of the turn, and perhaps the end of a copied prefix."""
    boundary, context = state.boundary, state.context
    model = text(payload.model) or text(inside(payload.model_info, "slug"))
    turn_id = text(payload.turn_id)
    if model is not None and turn_id is not None:
        _keep_model(context, turn_id, model)
    bounds.begin_turn(boundary, turn_id)
    whose = bounds.history(boundary, line.ordinal)
    if not bounds.is_own(whose) or bounds.is_older(boundary, turn_id):
        context.copied_model = model or context.copied_model
        return
    adopt_early_settings(state)
    context.turn_model = model or context.turn_model
    state.thread.project = text(payload.cwd) or state.thread.project


def _keep_model(context: Context, turn_id: str, model: str) -> None:
    context.turn_models.pop(turn_id, None)
    context.turn_models[turn_id] = model
    if len(context.turn_models) > REMEMBERED_IDS:
        del context.turn_models[next(iter(context.turn_models))]


def take_settings(state: State, line: Line, payload: Payload) -> None:
    """A `thread_settings_applied`: the tier in force, sticky until another one is stated."""
    context, settings = state.context, payload.thread_settings
    bounds.name_thread(state.boundary, payload.thread_id, state.thread.id)
    if settings is None:
        return
    model, stated = text(settings.model), tier(settings.service_tier)
    whose = bounds.history(state.boundary, line.ordinal)
    if bounds.is_own(whose):
        adopt_early_settings(state)
        context.settings_model = model or context.settings_model
        context.tier = stated or context.tier
        state.thread.provider = state.thread.provider or party(settings.model_provider_id)
    elif text(payload.thread_id) is None:
        context.early_model = model or context.early_model
        context.early_tier = stated or context.early_tier


def adopt_early_settings(state: State) -> None:
    """Settings from before the first own turn hold where no copied history stood among them.

    Older builds put no thread id on them; a sub-agent without a copied prefix states its tier
    there and nowhere else.
    """
    context, boundary = state.context, state.boundary
    if not boundary.foreign_header and not boundary.ever_named:
        context.settings_model = context.settings_model or context.early_model
        context.tier = context.tier or context.early_tier
    context.early_model = context.early_tier = None
