"""What is derived apart is the same as what is derived together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallybook.derive.chain import derive
from tallybook.files.find import walk
from tallybook.ledger import derived as derived_module
from tallybook.ledger import reading as module
from tallybook.ledger import settling
from tallybook.ledger.derived import Component, Derived
from tallybook.ledger.open import with_usage
from tallybook.ledger.reading import Reading
from tests.examples import tries
from tests.ledger.homes import asked, document, opened, put, session, transcript
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


def test_small_components_are_put_together_in_the_order_that_they_have_apart(
    read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles, apart = replace(read), replace(read)
    together = bundles.rows.drop("component")
    monkeypatch.setattr(settling, "_BUNDLES", sys.maxsize)
    assert together.equals(apart.rows.drop("component"), null_equal=True)
    assert len(bundles.components()) < len(apart.components()) / 4


def test_one_file_more_changes_one_of_many_bundles(tmp_path: Path) -> None:
    """Named anew is that bundle, or its two halves; all others are there already."""
    for number in range(300):
        put(transcript(tmp_path, number), session(number, calls=1))
    ledger = tmp_path / "ledger"
    with opened(tmp_path, ledger) as reading:
        before = {each.name for each in reading.components()}
    put(transcript(tmp_path, 300, "-home-a-other"), session(300, calls=1))
    with opened(tmp_path, ledger) as reading:
        after = {each.name for each in reading.components()}
    assert 2 < len(before) < 30
    assert 1 <= len(after - before) <= 2


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


def test_other_prices_are_put_on_what_was_derived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the first ones are still there for whoever asks by them again."""
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    put(transcript(home, 1), session(1, calls=3))
    own = put(
        tmp_path / "prices.toml",
        b'[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-4-5-20250929"\noutput = 1000',
    )
    asking = asked(home, ledger)
    dear = replace(asking, price_file=own)
    wanted = [with_usage(replace(each, ledger=None), document) for each in (asking, dear)]
    assert with_usage(asking, document) == wanted[0] != wanted[1]

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(settling, "derive", never)
    assert with_usage(dear, document) == wanted[1]
    monkeypatch.setattr(settling, "settled", never)
    assert [with_usage(each, document) for each in (asking, dear)] == wanted


def test_many_small_packs_give_way_to_one(tmp_path: Path) -> None:
    """In it is what is in use, with the rows of each; what came in the place of others is not."""
    kept = Derived(tmp_path, "prices")
    given = {
        f"c{n}": pl.DataFrame({"component": [f"c{n}"] * n, "n": range(n)}) for n in range(1, 13)
    }
    for name, rows in given.items():
        kept.add(pl.concat([rows, rows]), {name: rows.height, f"old {name}": rows.height})
    kept.close(given)
    again = Derived(tmp_path, "prices")
    assert len({again._known[name].part for name in given}) == 1
    assert {*again._known} & {"old c11", "old c1"} == {"old c11", "old c1"}
    found = again.look([*given], pl.LazyFrame.collect)
    assert found.sort("component", "n").equals(pl.concat(given.values()).sort("component", "n"))
    (names, rows), *more = again.rows([Component(name, [], 0) for name in ("c7", "c3")])
    assert (names, more) == (["c7", "c3"], [])
    assert rows.equals(pl.concat([given["c7"], given["c3"]]))


def test_packs_in_use_are_kept_and_about_as_many_rows_more() -> None:
    kept = derived_module._worth_keeping({"old": 10, "new": 10}, {"new"})
    assert kept == {"old", "new"}
    assert derived_module._worth_keeping({"old": 10**6, "new": 10}, {"new"}) == {"new"}
