"""Where the parts of a run are written and found: in the ledger, in a folder aside, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EINVAL, EISDIR, ELOOP
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.errors import words_of
from tallybook.files.find import Found
from tallybook.ledger.manifest import Damaged, unsealed
from tallybook.ledger.part_files import is_aside, is_whole
from tallybook.private import read_own, write_aside

if TYPE_CHECKING:
    import pyarrow as pa

    from tallybook.ledger.gather import Gathered, Task


_NO_FILE: Final = frozenset({EINVAL, EISDIR, ELOOP})  # another thing stands in its place
MANY_PARTS: Final = 256  # past this many, each question pays for them


class PartDamaged(Exception):  # noqa: N818 - a state of a file
    """A part is missing or is not what was written; `name` is its name."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name


class Store:
    """Parts by name. New ones go to `parts` and `states`, or stay in memory where both are None."""

    def __init__(
        self, known: Sequence[Path], parts: Path | None = None, states: Path | None = None
    ) -> None:
        self.parts = parts
        self.states = states
        self._folders = [*([parts] if parts else []), *known]
        self._tables: dict[str, pa.Table] = {}
        self._whole: dict[str, Path] = {}  # parts that were looked through

    def take(self, name: str, table: pa.Table | None) -> None:
        """Keep a part that is on no disk."""
        if table is not None:
            self._tables[name] = table

    def put(self, gathered: Gathered, part: bytes, states: bytes) -> None:
        """Write what was read elsewhere, under its names. Raises OSError."""
        if self.parts is not None and gathered.part:
            write_aside(self.parts / gathered.part, part, sync=self.states is not None)
        if self.states is not None and gathered.states:
            write_aside(self.states / gathered.states, states)

    def with_states(self, tasks: Sequence[Found | Task], states: Path | None) -> list[Found | Task]:
        """The tasks with the states that their places lack; without one, a file is read afresh."""
        loaded: dict[str, dict[str, bytes]] = {}
        ready: list[Found | Task] = []
        for task in tasks:
            if (
                isinstance(task, Found)
                or task.after is None
                or task.states is None
                or task.after.state
            ):
                ready.append(task)
                continue
            name, file_id = task.states
            if name not in loaded:
                loaded[name] = _load_states(states, name)
            state = loaded[name].get(file_id, b"")
            after = msgspec.structs.replace(task.after, state=state)
            ready.append(task._replace(after=after))
        return ready

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


def _load_states(folder: Path | None, name: str) -> dict[str, bytes]:
    if folder is None:
        return {}
    try:
        payload = unsealed(b"states", read_own(folder / name))
        return msgspec.msgpack.decode(payload, type=dict[str, bytes])
    except (OSError, Damaged, msgspec.MsgspecError):
        return {}
