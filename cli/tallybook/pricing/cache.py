"""Keeps the built rate table between runs; what is missing, stale or damaged is built again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tallybook.pricing.table import TABLE_VERSION, Provider
from tallybook.pricing.version import installed_version
from tallybook.private import aside, make_folder, sweep

_FILE: Final = "rates.json"
_ASIDE: Final = f"{_FILE}."
SHIPPED: Final = Path(__file__).with_name(_FILE)


class Table(msgspec.Struct, frozen=True):
    """The rate table with the version of its source and a digest of its content."""

    version: str  # of genai-prices
    digest: str
    providers: tuple[Provider, ...]


class _Header(msgspec.Struct, frozen=True):
    version: str
    table_version: int
    digest: str


def load_table(folder: Path | None) -> Table:
    """The table for the installed genai-prices.

    It comes with the package, where that was built with the same version, from `folder`, or it is
    built and left there.
    """
    version = installed_version()
    kept = [SHIPPED, folder / _FILE] if folder else [SHIPPED]
    for path in kept:
        table = _read(path, version)
        if table is not None:
            return table
    table, content = _build(version)
    if folder:
        _write(folder / _FILE, content)
    return table


def ship() -> None:
    """Build the table into the package."""
    _write(SHIPPED, _build(installed_version())[1])
    SHIPPED.chmod(0o644)  # whoever installs the package, everybody may run it


def _build(version: str) -> tuple[Table, bytes]:
    from tallybook.pricing.build import build_providers  # noqa: PLC0415 - a warm run needs none

    providers = build_providers()
    payload = msgspec.json.encode(providers)
    digest = _digest(payload)
    header = msgspec.json.encode(_Header(version, TABLE_VERSION, digest))
    return Table(version, digest, providers), header + b"\n" + payload


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _read(path: Path, version: str) -> Table | None:
    try:
        head, _, payload = path.read_bytes().partition(b"\n")
        header = msgspec.json.decode(head, type=_Header)
        if (header.version, header.table_version) != (version, TABLE_VERSION):
            return None
        if header.digest != _digest(payload):
            return None
        providers = msgspec.json.decode(payload, type=tuple[Provider, ...])
    except (OSError, msgspec.MsgspecError):
        return None
    return Table(version, header.digest, providers)


def _write(path: Path, content: bytes) -> None:
    # A folder that cannot be written to costs the next run the time to build, nothing else.
    with suppress(OSError):
        make_folder(path.parent)
        with aside(path.parent, _ASIDE) as beside:
            beside.write_bytes(content)
            beside.replace(path)
        sweep(path.parent, _ASIDE)
