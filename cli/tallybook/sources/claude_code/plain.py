"""Reads the lines that Claude Code writes today, and leaves every other one to `transcript`.

Such a line has a shape that the decoder can check by itself, which takes a third of the time. What
is read here is what `transcript` would make of the line; a line that departs in anything is not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from tallybook.schema import Reported
from tallybook.sources.claude_code.lines import Line
from tallybook.sources.claude_code.responses import DIALECT, SYNTHETIC, finished, provider
from tallybook.sources.claude_code.state import State
from tallybook.sources.claude_code.threads import chain, identity, is_minted, whose
from tallybook.values import EPOCH, MAX_COUNT

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class _Creation(msgspec.Struct, frozen=True, gc=False):
    ephemeral_5m_input_tokens: _Count | None = None
    ephemeral_1h_input_tokens: _Count | None = None


class _Tools(msgspec.Struct, frozen=True, gc=False):
    web_search_requests: _Count | None = None


class _Iteration(msgspec.Struct, frozen=True, gc=False):
    type: Literal["message"]


_Alone = Annotated[list[_Iteration], msgspec.Meta(max_length=1)]  # which the counts then are


class _Usage(msgspec.Struct, gc=False):
    input_tokens: _Count
    output_tokens: _Count
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_creation: _Creation = _Creation()
    service_tier: _Text | None = None
    speed: _Text | None = None
    inference_geo: _Text | None = None
    server_tool_use: _Tools = _Tools()
    output_tokens_details: None = None
    iterations: _Alone | None = None


class _Message(msgspec.Struct, gc=False):
    id: _Text
    model: _Text
    usage: _Usage
    stop_reason: str | msgspec.UnsetType | None = msgspec.UNSET


class PlainLine(
    msgspec.Struct,
    gc=False,
    rename={
        "parent_uuid": "parentUuid",
        "session": "sessionId",
        "request_id": "requestId",
        "agent_id": "agentId",
        "agent_type": "attributionAgent",
        "is_sidechain": "isSidechain",
        "forked_from": "forkedFrom",
        "block_index": "apiBlockIndex",
        "cost": "costUSD",
        "is_aborted": "isAbortedMidStream",
        "cut_cause": "streamCutCause",
    },
):
    """A line with one block of a response."""

    type: Literal["assistant"]
    uuid: _Text
    session: _Text
    timestamp: str
    message: _Message
    is_sidechain: bool
    parent_uuid: _Text | None = None
    cwd: _Text | None = None
    request_id: _Text | None = None
    agent_id: _Text | None = None
    agent_type: _Text | None = None
    forked_from: None = None
    block_index: _Count | None = None
    cost: None = None
    is_aborted: Literal[False] | None = None
    cut_cause: None = None
    version: str | None = None


_DECODER: Final = msgspec.json.Decoder(PlainLine)
# What decides the columns that are the same on line after line.
_Agent = tuple[str | None, str | None]
_Terms = tuple[str | None, str | None, str | None]
_Key = tuple[str, bool, _Agent, str | None, str, str | None, _Terms]


class PlainReader:
    """Reads plain lines of one block; remembers the columns that they have in common."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: dict[_Key, Reported] = {}

    def read(self, raw: bytes, record: int) -> Reported | None:
        """The row of a plain line; None where it is not one."""
        try:
            line = _DECODER.decode(raw)
            time = datetime.fromisoformat(line.timestamp)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if time.tzinfo is not UTC or time <= EPOCH or line.message.model == SYNTHETIC:
            return None
        common = self._common(line)
        request = line.request_id or "-"
        if common is None or line.uuid.isspace() or line.message.id.isspace() or request.isspace():
            return None
        return self._row(common, line, time, record)

    def _row(self, common: Reported, line: PlainLine, time: datetime, record: int) -> Reported:
        message, usage = line.message, line.message.usage
        chain_id = chain(
            self._state.links, line.uuid, line.parent_uuid, message.id, line.request_id
        )
        elsewise = f"{line.session}@{line.timestamp}"
        return msgspec.structs.replace(
            common,
            record=record,
            timestamp=time,
            identity=identity(message.id, line.request_id, chain_id, elsewise),
            request_id=line.request_id,
            response_id=message.id if is_minted(message.id) else None,
            record_id=line.uuid,
            chain_id=chain_id,
            finished=finished(message.stop_reason, usage.output_tokens, line.version),
            block_index=line.block_index,
            reported_input_tokens=usage.input_tokens,
            reported_cached_tokens=usage.cache_read_input_tokens,
            reported_cache_creation_tokens=usage.cache_creation_input_tokens,
            reported_cache_creation_5m_tokens=usage.cache_creation.ephemeral_5m_input_tokens,
            reported_cache_creation_1h_tokens=usage.cache_creation.ephemeral_1h_input_tokens,
            reported_output_tokens=usage.output_tokens,
            web_search_requests=usage.server_tool_use.web_search_requests,
        )

    def _common(self, line: PlainLine) -> Reported | None:
        """The columns in common; None where one of them is blank, which says nothing."""
        message, usage = line.message, line.message.usage
        seller, agent = provider(message.model, message.id), (line.agent_id, line.agent_type)
        terms = (usage.service_tier, usage.speed, usage.inference_geo)
        key = (line.session, line.is_sidechain, agent, line.cwd, message.model, seller, terms)
        row = self._known.get(key)
        if row is None:
            if any(map(str.isspace, filter(None, (*key[:1], *agent, *key[3:5], *terms)))):
                return None
            who = Line(
                session=line.session,
                is_sidechain=line.is_sidechain,
                agent_id=line.agent_id,
                agent_type=line.agent_type,
            )
            row = self._known[key] = Reported(
                record=0,
                dialect=DIALECT,
                project=line.cwd,
                model=message.model,
                provider=seller,
                service_tier=usage.service_tier,
                speed=usage.speed,
                inference_geo=usage.inference_geo,
                **whose(who, self._state.place, 0),
            )
        return row
