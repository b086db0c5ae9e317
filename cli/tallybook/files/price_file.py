"""Reads the user's price file, or makes one of the prices set in a program that has its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tallybook.names import text_of
from tallybook.sources.ninerouter.prices import (
    price_file,
    prices_in_database,
    prices_in_document,
)


def read_price_file(path: Path) -> bytes:
    """The content of a price file in TOML. Raises OSError.

    A database of 9router, or its `db.json`, is read for the prices its user has set there; nothing
    else of it is looked at.
    """
    from tallybook.files.sqlite import connect, is_database  # noqa: PLC0415 - loads pyarrow

    named = Path(text_of(str(path)))
    if is_database(named):
        try:
            with connect(named) as connection:
                return price_file(prices_in_database(connection)).encode()
        except sqlite3.Error as error:
            raise OSError(0, str(error)) from error
    content = path.read_bytes()
    prices = prices_in_document(content) if content.lstrip().startswith(b"{") else None
    return content if prices is None else price_file(prices).encode()
