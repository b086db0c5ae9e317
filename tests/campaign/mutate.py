"""Changes to a file that nobody would make on purpose: to its bytes, lines, values, or rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from tallybook.files.sqlite import is_database

_BYTES: Final = (b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"{", b"}", b"\\", b"\xc3")
_LONG: Final = "x" * 100_000
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 12, 2**31, 2**53 + 1, 2**63, 10**30, -0.0, 0.5, 1e3, 1e308,
    float("nan"), float("inf"), "", " ", "12", "0.01", "NaN", "-1", "1e999", "null", "\ud800",
    "a\u202eb\x1b[31m", "=1+1", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30",
    "2026-11-20", 1763640000, 1763640000000, _LONG, [], {}, [[]], [None], {"": None}, [1, 2],
    {"usage": 1}, {"message": {"usage": []}}, {"type": "assistant"},
)  # fmt: skip


def mutate(path: Path, random: Random) -> str:
    """Change one file in one to four ways; which kind of file it was."""
    if path.exists() and path.stat().st_size and is_database(path):
        for _ in range(random.randint(1, 4)):
            random.choice((_cell, _cell, _row, _raw))(path, random)
        return "database"
    content = path.read_bytes()
    for _ in range(random.randint(1, 4)):
        content = random.choice((_bytes, _lines, _value, _value, _value))(content, random)
    path.write_bytes(content)
    return "document" if path.suffix == ".json" else "lines"


def _raw(path: Path, random: Random) -> None:
    path.write_bytes(_bytes(path.read_bytes(), random))


def _bytes(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    end = min(at + random.choice((1, 1, 8, 200)), len(content))
    return random.choice(
        (
            content[:at] + content[end:],
            content[:at] + random.choice(_BYTES) + content[at:],
            content[:at] + random.randbytes(end - at) + content[end:],
            content[:end] + content[at:],
            content[:at],
        )
    )


def _lines(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    what = random.randrange(5)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(other, lines[at])
    elif what == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif what == 3:
        lines[at] = lines[at].rstrip(b"\n")
    else:
        lines[at] = lines[at][: random.randrange(len(lines[at]))] + b"\n"
    return b"".join(lines)


def _value(content: bytes, random: Random) -> bytes:
    """Another value, key or place somewhere in one JSON line, or in the one document."""
    lines = content.splitlines(keepends=True)
    whole = _decoded(content)
    at = random.randrange(len(lines)) if lines else 0
    found = whole if whole is not None else _decoded(lines[at]) if lines else None
    places = list(_places(found))
    if not places:
        return content
    holder, key = random.choice(places)
    _CHANGES[random.randrange(len(_CHANGES))](holder, key, random, places)
    text = json.dumps(found, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if whole is not None:
        return text + b"\n"
    return b"".join([*lines[:at], text + b"\n", *lines[at + 1 :]])


def _decoded(content: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(content)
    return None


Place = tuple[Any, Any]  # a list or dictionary, and an index or key of it


def _places(value: Any) -> Iterator[Place]:
    pending = [value]
    while pending:
        holder = pending.pop()
        if isinstance(holder, dict | list):
            keys = holder if isinstance(holder, dict) else range(len(holder))
            yield from ((holder, key) for key in keys)
            pending += holder.values() if isinstance(holder, dict) else holder


def _put_hostile(holder: Any, key: Any, random: Random, _: list[Place]) -> None:
    holder[key] = random.choice(_VALUES)


def _take_out(holder: Any, key: Any, _random: Random, _: list[Place]) -> None:
    del holder[key]


def _put_elsewhere(holder: Any, key: Any, random: Random, places: list[Place]) -> None:
    other, name = random.choice(places)
    holder[key] = json.loads(json.dumps(other[name]))


def _wrap(holder: Any, key: Any, random: Random, _: list[Place]) -> None:
    holder[key] = random.choice(([holder[key]], {"usage": holder[key]}, str(holder[key])))


def _rename(holder: Any, key: Any, random: Random, places: list[Place]) -> None:
    names = [name for _, name in places if isinstance(name, str)]
    if isinstance(holder, dict) and names:
        holder[random.choice([*names, f"{key}s"])] = holder.pop(key)


_CHANGES: Final[tuple[Callable[[Any, Any, Random, list[Place]], None], ...]] = (
    _put_hostile, _put_hostile, _put_hostile, _take_out, _put_elsewhere, _wrap, _rename,
)  # fmt: skip


def _cell(path: Path, random: Random) -> None:
    """Another value in one cell of one table, or one in the JSON that the cell holds."""

    def change(base: sqlite3.Connection, table: str, columns: list[str]) -> None:
        column = random.choice(columns)
        rows = base.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()  # noqa: S608
        if not rows:
            return
        number, value = random.choice(rows)
        if isinstance(value, str | bytes) and random.random() < 0.6:
            text = value.encode() if isinstance(value, str) else value
            new: Any = random.choice((_value, _bytes))(text, random)
            new = new.decode("utf-8", "replace") if isinstance(value, str) else new
        else:
            new = random.choice(_VALUES)
        if isinstance(new, bool | dict | list) or (isinstance(new, int) and abs(new) >= 2**63):
            new = str(new)
        new = "\ufffd" if new == "\ud800" else new
        base.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, number))  # noqa: S608

    _change(path, random, change)


def _row(path: Path, random: Random) -> None:
    """One row less, or one table, or one column by another name, or a view in a table's place."""

    def change(base: sqlite3.Connection, table: str, columns: list[str]) -> None:
        what = random.randrange(5)
        if what < 2:
            base.execute(f'DELETE FROM "{table}" WHERE rowid % 2 = ?', (what,))  # noqa: S608
        elif what == 2:
            base.execute(f'DROP TABLE "{table}"')
        elif what == 3:
            base.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{random.choice(columns)}" TO odd')
        else:
            base.execute(f'ALTER TABLE "{table}" RENAME TO moved_away')
            base.execute(f'CREATE VIEW "{table}" AS SELECT * FROM moved_away')  # noqa: S608

    _change(path, random, change)


def _change(
    path: Path, random: Random, change: Callable[[sqlite3.Connection, str, list[str]], None]
) -> None:
    with (
        suppress(sqlite3.Error, OverflowError, UnicodeDecodeError),
        closing(sqlite3.connect(path)) as base,
    ):
        names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        tables = [name for (name,) in base.execute(names) if not name.startswith("sqlite_")]
        if not tables:
            return
        table = random.choice(tables)
        columns = [row[1] for row in base.execute(f'PRAGMA table_info("{table}")')]
        change(base, table, columns)
        base.commit()
