"""Keeps every price table that reports were priced with, so that one can be priced so again."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.errors import UsageError
from tallybook.names import text_of
from tallybook.pricing.installed import RULES
from tallybook.private import read_own, write_aside

if TYPE_CHECKING:
    from tallybook.pricing.rates import Rates

_NAME: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.([0-9a-f]{16})\.prices")
_DIGEST: Final = re.compile(r"[0-9a-f]{4,16}")


class _Head(msgspec.Struct, frozen=True):
    version: str
    table: str  # digest of the rates
    corrected: str
    origin: str
    file: str | None  # the user's own prices: their name and what they say
    own: str
    rules: str  # the name of the program's own


def keep(folder: Path, rates: Rates) -> None:
    """Keep what the rates are made of, once, under the day (UTC) and their digest.

    A folder that cannot be written to costs that a later report cannot be priced so.
    """
    with suppress(OSError):
        if any(digest == rates.digest for _, digest, _ in _kept(folder)):
            return
        day = time.strftime("%Y-%m-%d", time.gmtime())
        write_aside(folder / f"{day}.{rates.digest}.prices", _packed(rates))


def _packed(rates: Rates) -> bytes:
    table, own = rates.table, rates.overrides
    name = None if own.name is None else text_of(own.name)
    told = (table.version, table.digest, table.corrected, table.origin, name, own.content)
    head = _Head(*told, RULES)
    payload = msgspec.json.encode(head) + b"\n" + msgspec.json.encode(table.providers)
    return gzip.compress(payload, 1, mtime=0)


def at(folder: Path, asked: str) -> tuple[Rates, str | None]:
    """The rates with the digest (or its beginning), or those in use on the day that is asked for.

    With a word where this program has other rules than that which kept them. Raises UsageError
    where there are none, or where several begin so.
    """
    kept = sorted(_kept(folder))
    days = ", ".join(f"{day} ({digest})" for day, digest, _ in kept[-5:]) or "none"
    hint = f"kept in this ledger, by the day of their first use: {days}"
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", asked):
        found = [path for day, _, path in kept if day <= asked][-1:]
    elif _DIGEST.fullmatch(asked):
        found = [path for _, digest, path in kept if digest.startswith(asked)]
    else:
        raise UsageError(f"--prices-at {asked!r} is neither a digest nor a day", hint)
    if len(found) != 1:
        several = "several price tables begin so" if found else "no such price table was used"
        raise UsageError(f"--prices-at {asked}: {several}", hint)
    return _rates(found[0])


def _kept(folder: Path) -> Iterator[tuple[str, str, Path]]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            if name := _NAME.fullmatch(path.name):
                yield name[1], name[2], path


def _rates(path: Path) -> tuple[Rates, str | None]:
    from tallybook.pricing.price_file import read_overrides  # noqa: PLC0415 - few runs ask for it
    from tallybook.pricing.rates import Rates, Table  # noqa: PLC0415
    from tallybook.pricing.table import Provider  # noqa: PLC0415

    try:
        first, _, rest = gzip.decompress(read_own(path)).partition(b"\n")
        head = msgspec.json.decode(first, type=_Head)
        providers = msgspec.json.decode(rest, type=tuple[Provider, ...])
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path}: the kept price table is damaged: {error}") from error
    table = Table(head.version, head.table, providers, head.corrected, head.origin)
    own = Path(head.file) if head.file is not None else None
    other = "prices of another day, by rules of this version: what those change is priced anew"
    note = None if head.rules == RULES else other
    return Rates(table, read_overrides(own, lambda _: head.own.encode())), note
