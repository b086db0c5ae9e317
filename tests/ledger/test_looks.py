"""What the stages look at beyond a row, of which `ledger.seams` has to know all."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from tallybook import derive
from tallybook.derive import chain
from tallybook.derive.duplicates import deduplicate

ROOM: Final = Path(derive.__file__).parent
# Where rows are grouped or met, the arguments that say by what.
BY: Final = {
    "over": None,
    "group_by": None,
    "partition_by": None,
    "join": {"on", "left_on", "right_on"},
    "join_asof": {"on", "by"},
}
# By module the columns by which rows meet there, each behind what makes `seams` take rows for one
# piece that meet so. Whoever adds one asks there whether new rows may meet old ones by it: they
# must share a key of `groups.every_key`, be odd, or be out of order.
KNOWN: Final[dict[str, str]] = {
    # Rows whose model stands ahead are odd.
    "attribute": "path source",
    # By the number of a row.
    "beside": "giver",
    # Taken back or filled after what is kept was read, by call.
    "corrections": "call_id",
    # Equal calls have the key "call", "record", or the counters of `seams`.
    "duplicates.best_record": "_call _path",
    # The same; captures, threads, histories are odd, compactions and repeats looked at.
    "duplicates.deduplicate": "_call copied_row model part path record_id segment_id sequence "
    "source thread_id timestamp",
    # Rows of a router are odd, and so are all beside them.
    "duplicates.forwarded": "_call _output _when call_id client duplicate_of response_id "
    "root_thread_id router thread_id tool_ids",
    # The key "response"; stored answers and what names the log's source are odd.
    "duplicates.other_sources": "_of _output _when response_id",
    # Rows of a router again.
    "duplicates.requests": "_output _when model provider",
    # The key "call".
    "duplicates.reused_ids": "",
    # What is no log is odd.
    "duplicates.same_run": "chain_id run source telling",
    # It takes a row of a router.
    "duplicates.silent_threads": "source thread_id",
    # What tells of a run is no log.
    "duplicates.workspaces": "_workspace agent call_id thread_id",
    # Running totals are odd.
    "reconcile": "call_id model owner root_thread_id source thread thread_id",
    "running_totals": "source",
    "without_counts": "model path source thread thread_id",
    # A sum is odd.
    "sums": "caller model path series source timestamp",
}  # fmt: skip
STAGES: Final = (
    "attribute settle_running normalize deduplicate settle_sums settle_without_counts reconcile "
    "with_bounds"
)
OF_DUPLICATES: Final = (
    "repeats histories calls compactions captures records-of-runs elsewhere threads workspaces "
    "routes"
)


def test_the_seams_know_all_by_which_rows_meet() -> None:
    found = {name: " ".join(sorted(columns)) for name, columns in _looks()}
    known = {name: columns for name, columns in KNOWN.items() if columns}
    assert {name: columns for name, columns in found.items() if columns} == known


def test_the_seams_know_all_stages() -> None:
    assert " ".join(stage.__name__ for stage in chain._STAGES) == STAGES
    assert [name.replace(" ", "-") for name in deduplicate._STAGES] == OF_DUPLICATES.split()


def _looks() -> Iterator[tuple[str, set[str]]]:
    for path in sorted(ROOM.rglob("*.py")):
        name = ".".join(path.relative_to(ROOM).with_suffix("").parts)
        module = importlib.import_module(f"{derive.__name__}.{name}".removesuffix(".__init__"))
        calls = (each for each in ast.walk(ast.parse(path.read_text())) if _is_look(each))
        columns = {column for call in calls for column in _columns(call, module)}
        yield name, columns - {"row"}


def _is_look(node: ast.AST) -> bool:
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and node.func.attr in BY  # type: ignore[attr-defined]


def _columns(call: ast.AST, module: ModuleType) -> Iterator[str]:
    """The columns that a call of BY names, itself or by a constant of its module."""
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Attribute)
    keys = BY[call.func.attr]
    given = call.args if keys is None else []
    named = [each.value for each in call.keywords if keys is None or each.arg in keys]
    for node in (inner for each in (*given, *named) for inner in ast.walk(each)):
        value = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        value = node.value if isinstance(node, ast.Constant) else value
        several = value if isinstance(value, tuple) else (value,)
        yield from (each for each in several if isinstance(each, str))
