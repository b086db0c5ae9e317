"""Reads the JSON documents in which 9router kept its usage and its request details until 0.4.24."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from tallybook.schema import Reported
from tallybook.sources.contract import FileFacts
from tallybook.sources.lines import problem
from tallybook.sources.ninerouter.bodies import BARE, opened
from tallybook.sources.ninerouter.daily import day_row
from tallybook.sources.ninerouter.details import Detail
from tallybook.sources.ninerouter.details import rows as detail_rows
from tallybook.sources.ninerouter.detailtables import PLACEHOLDER
from tallybook.sources.ninerouter.entries import Entry, Numbering, from_document
from tallybook.sources.ninerouter.history import tables
from tallybook.sources.ninerouter.readings import Era
from tallybook.sources.ninerouter.tokens import TWIN
from tallybook.sources.rows import table

if TYPE_CHECKING:
    import pyarrow as pa

_BACKUPS: Final = "backups"
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_DETAILS: Final = re.compile(rb'\A\s*\{\s*"records"\s*:')
_NOTHING: Final = msgspec.Raw()
_Part = TypeVar("_Part", bound=msgspec.Struct)


class State(msgspec.Struct):
    """Where the reading of a document stands; `is_read` once its only block was read."""

    is_copy: bool = False
    is_read: bool = False


class Inside(msgspec.Struct):
    """What of a part of an answer, a request or an envelope is looked at."""

    usage: Any = None
    usageMetadata: Any = None  # noqa: N815 - the key of the log
    responseId: Any = None  # noqa: N815
    modelVersion: Any = None  # noqa: N815
    id: Any = None
    model: Any = None
    user_id: Any = None


class Body(Inside):
    """What of a provider's answer is looked at: never its texts."""

    type: Any = None
    object: Any = None
    created: Any = None
    created_at: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    prompt_eval_cached_count: Any = None
    done: Any = None
    response: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    preview: Any = msgspec.field(default=None, name="_preview")


class Request(msgspec.Struct):
    """What of a client's request, or of the provider's, is looked at."""

    metadata: msgspec.Raw = _NOTHING
    prompt_cache_key: Any = None
    type: Any = None


class Record(msgspec.Struct):
    """A record of `request-details.json`."""

    id: Any = None
    provider: Any = None
    model: Any = None
    connectionId: Any = None  # noqa: N815 - the key of the log
    timestamp: Any = None
    status: Any = None
    latency: Any = None
    tokens: Any = None
    request: msgspec.Raw = _NOTHING
    providerRequest: msgspec.Raw = _NOTHING  # noqa: N815
    providerResponse: msgspec.Raw = _NOTHING  # noqa: N815
    response: msgspec.Raw = _NOTHING


class Usage(msgspec.Struct):
    """The document `usage.json`."""

    history: list[Any]
    dailySummary: Any = None  # noqa: N815 - the key of the log


class Details(msgspec.Struct):
    """The document `request-details.json`."""

    records: list[msgspec.Raw]


def begin(facts: FileFacts) -> State:
    """The first state; the folder tells a backup."""
    return State(is_copy=_BACKUPS in facts.parts)


def finish(_: State) -> pa.Table:
    """Nothing is left to say at the end of a document."""
    return table([])


def read_document(block: bytes, *, is_copy: bool) -> pa.Table:
    """The rows of a whole document; of a damaged one those of its records that are whole."""
    if _DETAILS.match(block):
        return _read_details(block, is_copy=is_copy)
    return _read_usage(block, is_copy=is_copy)


def _read_usage(block: bytes, *, is_copy: bool) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - naming the sources must not load it

    damage: list[Reported] = []
    try:
        document = msgspec.json.decode(_text(block), type=Usage)
        history, days = document.history, document.dailySummary
    except (msgspec.DecodeError, RecursionError):
        history, days = list(_salvaged(block, damage)), None
        if not damage:
            words = "the document cannot be read behind its rows"
            damage.append(problem(len(history) + 1, "truncated", words))
    names = Numbering()
    entries = [
        from_document(record, row, names)
        for record, row in enumerate(history, 1)
        if isinstance(row, dict)
    ]
    damage += [
        problem(record, "bad-line", "not a JSON object")
        for record, row in enumerate(history, 1)
        if not isinstance(row, dict) and row is not None
    ]
    found = days.items() if isinstance(days, dict) else ()
    summed = [day_row(record, day, data) for record, (day, data) in enumerate(found, 1)]
    rows = tables([entries], names, _era(entries, is_copy=is_copy))
    return pa.concat_tables([*rows, table([*summed, *damage])])


def _era(entries: Iterable[Entry], *, is_copy: bool) -> Era:
    twins = [entry.record for entry in entries if entry.counts.shape == TWIN]
    return Era(
        first_twin=twins[0] if twins else None,
        last_twin=twins[-1] if twins else None,
        is_copy=is_copy,
    )


def _read_details(block: bytes, *, is_copy: bool) -> pa.Table:
    damage: list[Reported] = []
    try:
        records: Iterable[Any] = msgspec.json.decode(_text(block), type=Details).records
    except (msgspec.DecodeError, RecursionError):
        records = _pieces(block, damage)
    rows = [
        row
        for record, content in enumerate(records, 1)
        for row in _detail(record, content, is_copy=is_copy)
    ]
    return table([*rows, *damage])


def _detail(record: int, content: Any, *, is_copy: bool) -> list[Reported]:
    try:
        found = msgspec.json.decode(content, type=Record)
    except (msgspec.DecodeError, RecursionError):
        return [problem(record, "bad-line", f"not a JSON object ({len(content)} bytes)")]
    answer = bytes(found.providerResponse).strip()
    body, state = opened(_body(answer))
    request = _part(found.request, Request)
    return detail_rows(
        Detail(
            record=record,
            **{name: _word(getattr(found, name)) for name in ("id", "provider", "model", "status")},
            connection=_word(found.connectionId),
            timestamp=found.timestamp,
            latency=found.latency,
            tokens=found.tokens,
            body=body,
            body_state=BARE if answer == b"{}" else state,
            is_placeholder=PLACEHOLDER.encode() == answer.strip(b'"'),
            kind=_word(_part(found.response, Request).type),
            user_id=_part(request.metadata, Inside).user_id,
            cache_key=_part(found.providerRequest, Request).prompt_cache_key,
            is_copy=is_copy,
        )
    )


def _part(raw: msgspec.Raw, kind: type[_Part]) -> _Part:
    """What of a part is looked at; nothing where it is not there, or something else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return kind()


def _body(answer: bytes) -> dict[str, Any]:
    """What of an answer is looked at, as it was nested; nothing where it is a text."""
    try:
        body = msgspec.json.decode(answer, type=Body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    found = _stated(body)
    for name in ("response", "data"):
        found[name] = _stated(_part(found[name], Inside)) or None
    if "preview" in found:
        found["_preview"] = found.pop("preview")
    return {name: value for name, value in found.items() if value is not None}


def _stated(part: Inside) -> dict[str, Any]:
    values = ((name, getattr(part, name)) for name in part.__struct_fields__)
    return {name: value for name, value in values if value is not None}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _text(block: bytes) -> bytes | str:
    """The block, with what is no UTF-8 in it replaced."""
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace")
    return block


def _salvaged(block: bytes, damage: list[Reported]) -> Iterator[Any]:
    """The rows of a damaged history that are whole; None stands for one that is not."""
    for record, content in enumerate(_pieces(block, damage), 1):
        try:
            yield msgspec.json.decode(_text(content))
        except (msgspec.DecodeError, RecursionError):
            damage.append(problem(record, "bad-line", f"not JSON ({len(content)} bytes)"))
            yield None


def _pieces(block: bytes, damage: list[Reported]) -> Iterator[bytes]:
    """The objects in the first list of a damaged document, one after the other."""
    depth, begun, record = 0, -1, 0
    for found in _TOKEN.finditer(block):
        sign = found[0]
        if sign in b"[{":
            if depth == 2 and sign == b"{":
                begun = found.start()
            depth += 1
        elif sign in b"]}":
            depth -= 1
            if depth == 2 and begun >= 0:
                record += 1
                yield block[begun : found.end()]
                begun = -1
            if depth < 2:
                return
    damage.append(problem(record + 1, "truncated", "the document breaks off"))
