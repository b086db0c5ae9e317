"""A value of a type that nobody expects costs its record at most, whichever key it stands under."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from tallybook.files.read import facts
from tallybook.schema import Reported
from tallybook.sources import Source, sources
from tallybook.sources.lines import Head
from tallybook.tables import table

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
OTHERS: tuple[Any, ...] = ([], {"x": 1}, 5)  # none a text, two that are no key of a mapping
LARGEST = 10_000  # bytes of a document that is read once for each of its keys
Keys = tuple[str | int, ...]


class Place(NamedTuple):
    """A value in a file: of which line, or of the one document, and under which keys."""

    path: Path
    line: int | None
    keys: Keys


def keys_of(value: Any, above: Keys = ()) -> Iterator[Keys]:
    yield above
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys_of(inner, (*above, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from keys_of(inner, (*above, index))


def decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def places(source: Source) -> Iterator[tuple[Place, Any]]:
    """One place for each path of keys that records of a sort have in the fixtures."""
    seen: set[object] = set()
    for path in sorted((FIXTURES / source.name).glob("*/input/**/*")):
        if not path.is_file() or path.suffix in (".sql", ".gz", ".zst"):
            continue
        content = path.read_bytes()
        whole = decoded(content)
        if whole is not None and len(content) > LARGEST:
            continue
        lines = enumerate(content.split(b"\n")) if whole is None else [(None, content)]
        for number, line in lines:
            value = decoded(line.removeprefix(b"data:"))
            sort = str(value.get("type")) if isinstance(value, dict) else ""
            for keys in keys_of(value) if value is not None else ():
                named = sort, tuple("#" if isinstance(key, int) else key for key in keys)
                if named not in seen:
                    seen.add(named)
                    yield Place(path, number, keys), value


def put(value: Any, keys: Keys, other: Any) -> Any:
    if not keys:
        return other
    key, *rest = keys
    changed = value.copy()
    changed[key] = put(value[key], tuple(rest), other)
    return changed


def changed(place: Place, value: Any, other: Any) -> bytes:
    """The document with another value, or the line, behind the first one of its file."""
    new = json.dumps(put(value, place.keys, other)).encode()
    if place.line is None:
        return new
    lines = place.path.read_bytes().split(b"\n")
    mark = b"data: " if lines[place.line].startswith(b"data:") else b""
    return b"\n".join([*lines[: min(place.line, 1)], mark + new, b""])


@pytest.mark.parametrize("name", sources())
def test_no_type_ends_a_reading(name: str) -> None:
    source, read = sources()[name], 0
    for number, (place, value) in enumerate(places(source)):
        begun = source.begin(facts(source, place.path))
        found: list[Reported] = []
        for turn, other in enumerate(OTHERS):
            content = changed(place, value, other)
            head = Head(content)
            # The other sources look at one of the three: most places have many like them.
            looking = sources().values() if turn == number % len(OTHERS) else [source]
            try:
                for each in looking:
                    each.sniff(head)
                    each.whole(head)
                rows, state = source.read(content, begun)
                found += [*([] if isinstance(rows, pa.Table) else rows), *source.finish(state)]
            except Exception as error:
                raise AssertionError(place, other) from error
            read += 1
        table(found)
    assert read > 20, "every source has fixtures with keys"


@pytest.mark.parametrize(
    "record",
    [
        {"type": "ADDED", "object": {"kind": "Pod"}},
        {"type": {"a": 1}, "message": {}, "data": []},
        {"type": ["message_start"], "message": {"usage": {}}},
    ],
)
def test_records_of_programs_that_nobody_knows_are_nobody_s(record: dict[str, Any]) -> None:
    head = Head(json.dumps(record).encode())
    assert [source.name for source in sources().values() if source.sniff(head)] == []
