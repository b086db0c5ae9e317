"""Where the parts of a run are written and found: in the ledger, in a folder aside, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EINVAL, EISDIR, ELOOP
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.errors import words_of
from tallybook.files.find import Found
from tallybook.files.resume import ReadPosition
from tallybook.ledger.catalog import keep_states, states
from tallybook.ledger.part_files import is_aside, is_whole
from tallybook.private import write_aside

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.ledger.gather import Gathered, Task


_NO_FILE: Final = frozenset({EINVAL, EISDIR, ELOOP})  # another thing stands in its place
_HELD_STATES: Final = 8 << 20  # bytes
MANY_PARTS: Final = 256  # past this many, each question pays for them


class PartDamaged(Exception):  # noqa: N818 - a state of a file
    """A part is missing or is not what was written; `name` is its name."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name


class Store:
    """Parts by name. New ones go to `parts`, or stay in memory where that is None.

    Of what is `kept` in a ledger, the states of readers are held until its catalogue takes them.
    """

    def __init__(
        self, known: Sequence[Path], parts: Path | None = None, *, kept: Path | None = None
    ) -> None:
        self.parts = parts
        self.kept = kept
        self.states: dict[str, bytes] = {}
        self._held = 0
        self._folders = [*([parts] if parts else []), *known]
        self._tables: dict[str, pa.Table] = {}
        self._whole: dict[str, Path] = {}  # parts that were looked through

    def take(self, name: str, table: pa.Table | None) -> None:
        """Keep a part that is on no disk."""
        if table is not None:
            self._tables[name] = table

    def put(self, gathered: Gathered, part: bytes) -> None:
        """Write a part that was read elsewhere, under its name. Raises OSError."""
        if self.parts is not None and gathered.part:
            write_aside(self.parts / gathered.part, part, sync=self.kept is not None)

    def take_states(self, states: dict[str, bytes]) -> None:
        """Hold states by file id, unless they are too many. Raises OSError."""
        self.states |= states
        self._held += sum(map(len, states.values()))
        if self.kept is not None and self._held > _HELD_STATES:
            keep_states(self.kept, self.states)
            self.states, self._held = {}, 0

    def with_states(self, tasks: Sequence[Found | Task], ledger: Path | None) -> list[Found | Task]:
        """The tasks with the states that their places lack; without one, a file is read afresh."""
        wanted = {
            task.state_of
            for task in tasks
            if not isinstance(task, Found) and task.after is not None and task.state_of
        }
        loaded = states(ledger, sorted(wanted)) if ledger is not None and wanted else {}
        return [
            task
            if isinstance(task, Found) or task.after is None or task.state_of not in wanted
            else task._replace(after=_with_state(task.after, loaded.get(task.state_of, b"")))
            for task in tasks
        ]

    def held(self, name: str) -> pa.Table | None:
        """A part that is on no disk."""
        return self._tables.get(name)

    def find(self, name: str) -> Path:
        """Where a part is. Raises PartDamaged where it is nowhere, or not what was written."""
        if name in self._whole:
            return self._whole[name]
        words = "missing"
        for folder in self._folders:
            try:
                if is_aside(name) or is_whole(folder / name):
                    self._whole[name] = folder / name
                    return folder / name
                words = "damaged"
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in _NO_FILE:
                    raise
                words = words_of(error)
        raise PartDamaged(name, words)


def _with_state(place: ReadPosition, state: bytes) -> ReadPosition:
    return msgspec.structs.replace(place, state=state)
