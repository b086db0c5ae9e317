"""The two files in which 9router keeps its usage, made, changed and given back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tallybook.backfill.ninerouter.change import AppliedChanges, Correction, PlannedChanges
from tallybook.backfill.ninerouter.database import apply, plan_changes, restore
from tallybook.backfill.ninerouter.document import apply_document, plan_document, restore_document
from tests.backfill.ninerouter.made import database, document, insert


class Database:
    """The rows of a database, and what is done with them."""

    name = "data.sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = database(folder / self.name)

    def plan(self, corrections: list[Correction]) -> PlannedChanges:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            return plan_changes(connection, corrections)

    def apply(self, planned: PlannedChanges) -> AppliedChanges:
        return apply(self.path, planned)

    def change(self, corrections: list[Correction]) -> AppliedChanges:
        return self.apply(self.plan(corrections))

    def restore(self) -> AppliedChanges:
        return restore(self.path)

    def state(self) -> tuple[list[Any], dict[str, Any]]:
        """The token objects and costs of the rows, and the sums of the days."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute("SELECT tokens, cost FROM usageHistory ORDER BY id")
            found = [(json.loads(tokens), cost) for tokens, cost in rows.fetchall()]
            days = connection.execute("SELECT dateKey, data FROM usageDaily ORDER BY dateKey")
            return found, {key: json.loads(data) for key, data in days.fetchall()}

    def add(self, values: dict[str, Any]) -> None:
        """As 9router adds a row; it counts it in no day here."""
        with closing(sqlite3.connect(self.path)) as connection:
            insert(connection, values)
            connection.commit()

    def put(self, record: int, tokens: dict[str, Any]) -> None:
        """As 9router, or anybody else, changes a row."""
        with closing(sqlite3.connect(self.path)) as connection:
            values = (json.dumps(tokens), tokens["prompt_tokens"], record)
            connection.execute(
                "UPDATE usageHistory SET tokens = ?, promptTokens = ? WHERE id = ?", values
            )
            connection.commit()


class Document:
    """The same of the old document."""

    name = "usage.json"

    def __init__(self, folder: Path) -> None:
        self.path = document(folder / self.name)

    def plan(self, corrections: list[Correction]) -> PlannedChanges:
        return plan_document(self.path.read_bytes(), corrections)

    def apply(self, planned: PlannedChanges) -> AppliedChanges:
        return apply_document(self.path, planned)

    def change(self, corrections: list[Correction]) -> AppliedChanges:
        return self.apply(self.plan(corrections))

    def restore(self) -> AppliedChanges:
        return restore_document(self.path)

    def state(self) -> tuple[list[Any], dict[str, Any]]:
        found = json.loads(self.path.read_bytes())
        return [(each["tokens"], each["cost"]) for each in found["history"]], found["dailySummary"]

    def add(self, values: dict[str, Any]) -> None:
        self._write(lambda history: history.append(values))

    def put(self, record: int, tokens: dict[str, Any]) -> None:
        self._write(lambda history: history[record - 1].update(tokens=tokens))

    def _write(self, change: Callable[[list[Any]], None]) -> None:
        found = json.loads(self.path.read_bytes())
        change(found["history"])
        self.path.write_text(json.dumps(found))
