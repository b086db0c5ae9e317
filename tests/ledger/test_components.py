"""What is derived apart is the same as what is derived together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tallybook.ledger import derived as derived_module
from tallybook.ledger import reading as module
from tallybook.ledger import settling
from tests.examples import tries
from tests.ledger.homes import opened
from tests.rows_of_files import read_files
from tests.test_fixtures import CASES

NAMES = [f"{case.parent.name}/{case.name}" for case in CASES]
ORDER = ("path", "record", "part", "kind", "call_id")


def together(paths: Sequence[Path]) -> pl.DataFrame:
    return derive(read_files(walk(paths).files), None).sort(ORDER)


def apart(paths: Sequence[Path], ledger: Path | None) -> pl.DataFrame:
    with opened(Path("/nowhere"), ledger, paths) as reading:
        frames = [each.drop("component") for each in reading.batches()]
    return pl.concat(frames).select(together([]).columns).sort(ORDER)


def test_all_fixtures_together_are_derived_alike_in_components(
    mixed: Path, whole: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of a fresh run too, whatever of them was kept: nothing, half, all.

    And by the other engine of polars, which a user's own Python has, and keeps no order by itself.
    """
    with pl.Config(engine_affinity="streaming"):
        streamed = together([mixed])
    assert streamed.equals(whole.select(streamed.columns).sort(ORDER), null_equal=True)
    monkeypatch.setattr(module, "BATCH_ROWS", 200)
    ledger, half = tmp_path / "ledger", [mixed / name for name in NAMES[::2]]
    for paths in (half, [mixed], [mixed]):
        with opened(Path("/nowhere"), ledger, paths) as reading:
            found = reading.rows.drop("component")
        if paths != half:
            assert whole.equals(found, null_equal=True)


@tries(4)
@given(chosen=st.sets(st.sampled_from(NAMES), min_size=2, max_size=6))
def test_any_fixtures_together_are_derived_alike_in_components(
    mixed: Path, monkeypatch: pytest.MonkeyPatch, chosen: set[str]
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    paths = [mixed / name for name in sorted(chosen)]
    assert together(paths).equals(apart(paths, None), null_equal=True)


@pytest.mark.parametrize(
    "pair",
    [
        ("broken", "subagents-twice-in-july"),
        ("missing-columns", "owner-id"),
        ("missing-columns", "callback-twice"),
        ("missing-columns", "runs-and-checkpoints"),
    ],
)
def test_runs_of_one_id_are_settled_alike_in_components(
    mixed: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    paths = [mixed / "deer-flow" / name for name in pair]
    assert all(path.is_dir() for path in paths)
    assert together(paths).equals(apart(paths, None), null_equal=True)


def test_what_was_derived_for_all_outlives_questions_about_some(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, few = tmp_path / "ledger", [mixed / name for name in NAMES[:3]]
    apart([mixed], ledger)
    apart(few, ledger)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(settling, "derive", never)
    with opened(Path("/nowhere"), ledger, [mixed]) as reading:
        assert sum(rows.height for rows in reading.batches())


def test_many_small_packs_give_way_to_one(tmp_path: Path) -> None:
    packs = {f"{number:03}": 10 for number in range(70)} | {"large": 5000}
    kept = derived_module._worth_keeping(packs, set(packs))
    assert len(kept) == 16
    assert "large" in kept
    assert derived_module._worth_keeping({"old": 10, "new": 10}, {"new"}) == {"old", "new"}
    assert derived_module._worth_keeping({"old": 10**6, "new": 10}, {"new"}) == {"new"}
