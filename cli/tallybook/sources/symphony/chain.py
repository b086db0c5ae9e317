"""Checks that an audit record is what was hashed, and that it follows the record before it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallybook.sources.lines import decode
from tallybook.sources.symphony.state import Chain

_RECORD: Final = b'"record_hash":"'
_PREVIOUS: Final = b'"previous_hash":"'
_DATE: Final = b'"date":"'


def check(chain: Chain, line: bytes) -> str | None:
    """What is wrong with the record on `line`, if anything; moves the chain on.

    The first record of a file, and of each date in it, has none to follow.
    """
    if not chain.is_checked:
        return None
    stated, previous, date = (_field(line, key) for key in (_RECORD, _PREVIOUS, _DATE))
    is_sound = stated is not None and _cut_hash(line, stated) == stated
    if not is_sound:
        stated, previous, date, is_sound = _decoded(line)
    follows = (
        not chain.is_known or previous == chain.last or (previous is None and date != chain.date)
    )
    chain.is_known, chain.last, chain.date = stated is not None, stated, date
    if stated is None:
        return "states no hash"
    if not is_sound:
        return "is not what was hashed"
    return None if follows else "does not follow the record before it"


def lose(chain: Chain) -> None:
    """A record could not be read, so the next one's predecessor is not known."""
    chain.is_known = False


def _field(line: bytes, key: bytes) -> str | None:
    begin = line.rfind(key) + len(key)
    if begin < len(key):
        return None
    end = line.find(b'"', begin)
    return line[begin:end].decode("ascii", "replace") if end >= 0 else None


def _cut_hash(line: bytes, stated: str) -> str:
    """The hash of the line without its own hash, which is the canonical form where it was kept."""
    begin = line.rfind(_RECORD)
    end = begin + len(_RECORD) + len(stated) + 1
    if line[end : end + 1] == b",":
        end += 1
    elif line[begin - 1 : begin] == b",":
        begin -= 1
    return sha256(line[:begin] + line[end:].rstrip()).hexdigest()


def _decoded(line: bytes) -> tuple[str | None, str | None, str | None, bool]:
    """The same of a line with other spaces or another order of its keys."""
    value = decode(line)
    if not isinstance(value, dict):
        return None, None, None, False
    stated = value.pop("record_hash", None)
    is_sound = any(sha256(form).hexdigest() == stated for form in _canonical(value))
    previous, date = value.get("previous_hash"), value.get("date")
    return _text(stated), _text(previous), _text(date), is_sound


def _canonical(value: dict[str, Any]) -> tuple[bytes, ...]:
    """Sorted keys, no spaces, UTF-8; encoders differ in how they escape control characters."""
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return msgspec.json.encode(value, order="sorted"), plain.encode("utf-8", "replace")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
