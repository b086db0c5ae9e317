"""Checks that an audit record is what was hashed, and that it follows the record before it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final

import msgspec

from tallybook.sources.symphony.state import Chain
from tallybook.values import decode

_RECORD: Final = b'"record_hash":"'
_PREVIOUS: Final = b'"previous_hash":"'
_DATE: Final = b'"date":"'
_HEX: Final = 64  # digits of a hash


def check(chain: Chain, line: bytes) -> str | None:
    """What is wrong with the record on `line`, if anything; moves the chain on.

    The first record of a file, and of each date in it, has none to follow.
    """
    if not chain.is_checked:
        return None
    stated, previous, is_sound = _hashes(line)
    before, is_known = chain.last, chain.is_known
    chain.last, chain.is_known = stated, stated is not None
    if stated is None:
        return "states no hash"
    if not is_sound:
        return "is not what was hashed"
    begins = previous is None and _begins_date(chain, line)
    follows = begins or previous == before or not is_known
    return None if follows else "does not follow the one before it"


def lose(chain: Chain) -> None:
    """A record could not be read, so the next one's predecessor is not known."""
    chain.is_known = False


def _begins_date(chain: Chain, line: bytes) -> bool:
    """Whether the record, which has no predecessor, is of another date than the last such one."""
    before, chain.date = chain.date, _date(line)
    return chain.date != before


def _date(line: bytes) -> str | None:
    value = decode(line)
    stated = value.get("date") if isinstance(value, dict) else None
    return stated if isinstance(stated, str) else None


def _hashes(line: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The record's hash, that of the record before it, and whether the first one is right.

    What was hashed is the line without its hash, if it was kept as it was written.
    """
    begin = line.rfind(_RECORD)
    if begin > 0:
        end = begin + len(_RECORD) + _HEX + 1
        stated = line[end - _HEX - 1 : end - 1]
        if line[end : end + 1] == b",":
            content = line[:begin] + line[end + 1 :]
        else:
            content = line[: begin - 1] + line[end:]
        if sha256(content).hexdigest().encode() == stated:
            at = line.rfind(_PREVIOUS) + len(_PREVIOUS)
            return stated, line[at : at + _HEX] if at >= len(_PREVIOUS) else None, True
    return _decoded(line)


def _decoded(line: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The same of a line with other spaces or another order of its keys."""
    value = decode(line)
    if not isinstance(value, dict):
        return None, None, False
    stated = value.pop("record_hash", None)
    is_sound = any(sha256(form).hexdigest() == stated for form in _canonical(value))
    return _bytes(stated), _bytes(value.get("previous_hash")), is_sound


def _canonical(value: dict[str, Any]) -> tuple[bytes, ...]:
    """Sorted keys, no spaces, UTF-8; encoders differ in how they escape control characters."""
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return msgspec.json.encode(value, order="sorted"), plain.encode("utf-8", "replace")


def _bytes(value: object) -> bytes | None:
    return value.encode() if isinstance(value, str) else None
