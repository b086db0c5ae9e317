"""What is done to a ledger on its own account: its state, forgetting, compacting."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import msgspec

from tallybook.errors import TallybookError, words_of
from tallybook.ledger import older
from tallybook.ledger.catalog import NAME, load, prepared, save
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Damaged, Entry, Manifest
from tallybook.ledger.store import PartDamaged
from tallybook.names import text_of
from tallybook.urls import as_text

WAIT_SECONDS: Final = 30.0
_COUNTED: Final = ("files", "gone", "lost", "older", "named", "rows")


@contextmanager
def writing(ledger: Path) -> Iterator[tuple[Folder, Manifest]]:
    """The ledger for a run that alone may write. Raises TallybookError."""
    folder = Folder(ledger)
    try:
        folder.make()
        with folder.lock(WAIT_SECONDS) as held:
            if not held:
                raise TallybookError(f"another run is writing the ledger {ledger}")
            manifest, _ = prepared(ledger)
            try:
                yield folder, manifest
            except BaseException:
                with suppress(Damaged, OSError):  # what it has written until then is of no use
                    folder.sweep(load(ledger)[0])
                raise
    except PartDamaged as error:
        hint = "tallybook ledger verify says what is damaged"
        raise TallybookError(f"the ledger {ledger} is damaged: part {error}", hint) from error
    except (Damaged, OSError) as error:
        raise TallybookError(f"cannot write the ledger {ledger}: {words_of(error)}") from error


def committed(folder: Folder, before: Manifest, **changes: Any) -> Manifest:
    """The next generation of a ledger, with some changes, once it is kept. Raises OSError."""
    after = msgspec.structs.replace(before, generation=before.generation + 1, **changes)
    save(folder.root, after, before)
    return after


def held(ledger: Path) -> tuple[Manifest, str | None]:
    """What a ledger holds, and a word where that was damaged; see `load`.

    Raises TallybookError, also where there is none.
    """
    try:
        Folder(ledger).check()
        if not any(os.path.lexists(ledger / name) for name in (NAME, older.NAME, older.PREVIOUS)):
            raise TallybookError(f"there is no ledger in {ledger}", hint="a report makes one")
        return load(ledger)
    except (Damaged, OSError) as error:
        raise TallybookError(f"cannot read the ledger {ledger}: {words_of(error)}") from error


def status(ledger: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row a source (files, those that are gone, rows), and the totals. Raises TallybookError.

    `older` counts the files that other code has read; they are read again when they are looked at.
    `named` those that came in as PATH alone, which only PATH or --all asks for.
    """
    (manifest, _), folder = held(ledger), Folder(ledger)
    rows: dict[str | None, dict[str, Any]] = {}
    for entry in manifest.entries.values():
        name = entry.place.source
        row = rows.setdefault(name, {"source": name} | dict.fromkeys(_COUNTED, 0))
        row["files"] += 1
        row["gone"] += entry.gone
        row["lost"] += entry.lost
        row["named"] += entry.known is False
        row["older"] += entry.code != reading_digest()
        row["rows"] += sum(segment.rows for segment in entry.segments())
    parts = set(manifest.parts())
    sizes = [path.stat().st_size for name in parts if (path := folder.parts / name).exists()]
    found = [rows[name] for name in sorted(rows, key=lambda name: name or "")]
    totals = {key: sum(row[key] for row in found) for key in _COUNTED}
    more = {"parts": len(parts), "bytes": sum(sizes), "generation": manifest.generation}
    return found, totals | more


def forget(ledger: Path, path: Path) -> int:
    """Take a file, or all below a folder, out of the ledger; how many files. Raises TallybookError.

    What is still on the disk is read again when it is looked at. What another machine's ledger held
    may have paths of another system, and is named by them.
    """
    # Links are kept, as the ledger does.
    names = {text_of(os.path.abspath(path)), as_text(path)}  # noqa: PTH100 - see above
    return _change(ledger, lambda entry: not any(_is_in(entry.path, name) for name in names))


def _is_in(path: str, name: str) -> bool:
    """Whether a path is the one that is named, or below it."""
    separators = {os.sep, "/", "\\" if PureWindowsPath(name).drive else "/"}
    return path == name or any(path.startswith(name.rstrip(each) + each) for each in separators)


def compact(ledger: Path) -> int:
    """Write the rows of all files anew, without what is no longer of use; how many files."""
    _change(ledger, lambda _: True, always=True)
    return len(held(ledger)[0].entries)


def _change(ledger: Path, keep: Callable[[Entry], bool], *, always: bool = False) -> int:
    from tallybook.ledger.compacting import compacted  # noqa: PLC0415 - imports polars

    held(ledger)
    with writing(ledger) as (folder, manifest):
        entries = {path: entry for path, entry in manifest.entries.items() if keep(entry)}
        count = len(manifest.entries) - len(entries)
        if count or always:
            left = compacted(folder, msgspec.structs.replace(manifest, entries=entries)).entries
            # Twice, so that the generation before does not hold what was to be forgotten either.
            after = committed(folder, committed(folder, manifest, entries=left))
            folder.sweep(after)
            folder.clear()
        return count
