"""Ledgers of before there was a catalogue: one file that was written anew with each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tallybook.errors import words_of
from tallybook.ledger.manifest import Damaged, Entry, Foreign, Manifest, name_once, payload_of
from tallybook.private import open_regular

NAME: Final = "manifest"
PREVIOUS: Final = "manifest.previous"
STATES: Final = "states"  # a folder; only the code of its day could go on from what it holds
_MAGIC: Final = b"tallybook ledger "
_KIND: Final = b"ledger"
T = TypeVar("T")


class _Written(msgspec.Struct, kw_only=True):
    """A manifest as it was written, its entries not decoded yet."""

    generation: int = 0
    entries: dict[str, msgspec.Raw] = {}
    corrections: list[str] = []


def load(folder: Path) -> tuple[Manifest | None, str | None]:
    """What such a ledger holds, None where there is none, and a word where it was damaged."""
    return first_sound(folder, _read)


def first_sound(folder: Path, read: Callable[[Path], T]) -> tuple[T | None, str | None]:
    """What is `read` of the manifest, or of the one before where that is damaged, with a word then.

    None where there is neither. Raises Damaged where neither can be used.
    """
    damage = None
    for name in (NAME, PREVIOUS):
        try:
            return read(folder / name), damage
        except FileNotFoundError:
            continue
        except Foreign:
            raise
        except (Damaged, OSError) as error:
            damage = f"{folder / name}: {words_of(error)}"
    if damage:
        raise Damaged(damage)
    return None, None


def _read(path: Path) -> Manifest:
    with open_regular(path) as file:
        written = opened(file.read(), _Written)
    return Manifest(
        generation=written.generation,
        entries=dict(_entries(written.entries)),
        corrections=written.corrections,
    )


def _entries(entries: dict[str, msgspec.Raw]) -> Iterator[tuple[str, Entry]]:
    """The entries, nothing of them what they were read from. Raises Damaged."""
    texts: dict[str, str] = {}
    decoder = msgspec.msgpack.Decoder(Entry)
    for path, content in entries.items():
        try:
            entry = decoder.decode(content)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Damaged(str(error)) from error
        entry.path, entry.has_state = path, False
        entry.encoded_place = entry.encoded_place.copy()
        name_once(entry.segments(), texts)
        yield path, entry


def opened(content: bytes, kind: type[T]) -> T:
    """The content of a manifest as a `kind` of struct. Raises Damaged, Foreign."""
    try:
        return msgspec.msgpack.decode(payload_of(_KIND, content), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Damaged(str(error)) from error


def is_manifest(path: Path) -> bool:
    """Whether a file begins as a manifest of any version does. Raises OSError."""
    try:
        with open_regular(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        return False


def remove(folder: Path) -> None:
    """Remove what the catalogue has taken the place of."""
    for name in (NAME, PREVIOUS):
        with suppress(OSError):
            (folder / name).unlink()
