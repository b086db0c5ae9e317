"""Keeps the built rate table between runs; what is missing, stale or damaged is built again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tallybook.pricing.table import TABLE_VERSION, Provider
from tallybook.pricing.version import installed_version

_FILE: Final = "rates.json"


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
    """The table for the installed genai-prices, from `folder` or built and left there."""
    version = installed_version()
    if folder is None:
        return _build(version)[0]
    path = folder / _FILE
    table = _read(path, version)
    if table is None:
        table, content = _build(version)
        _write(path, content)
    return table


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
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_FILE, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
