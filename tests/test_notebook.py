"""The package as other programs use it: the same figures as the commands, in typed frames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import tallybook
from tallybook.commands import app
from tallybook.errors import UsageError
from tallybook.report.fields import COSTS, COUNTS
from tests.test_fixtures import FIXTURES

LOGS = FIXTURES / "codex" / "fork-copied-records"
MONEY = pl.Decimal(38, 15)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """With the engine that polars takes by itself, as a user's own Python does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    with pl.Config(engine_affinity="auto"):
        yield


def exported(name: str, *arguments: str) -> pl.DataFrame:
    done = CliRunner().invoke(app, ["export", name, str(LOGS), "--no-ledger", *arguments])
    assert done.exit_code == 0
    return pl.read_parquet(name)


def test_to_import_it_loads_nothing() -> None:
    code = "import sys, tallybook; dir(tallybook); assert not {'polars', 'typer'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    with pytest.raises(AttributeError, match="nothing"):
        tallybook.nothing  # noqa: B018


@pytest.mark.parametrize("by", ["model", "thread", ("day", "model")])
def test_usage_has_the_rows_of_the_report(by: Any) -> None:
    keys = by if isinstance(by, str) else ",".join(by)
    found = tallybook.usage(LOGS, by=by, ledger=False)
    assert found.equals(exported("rows.parquet", "--by", keys))
    assert [found.schema[name] for name in COUNTS] == [pl.Int64] * len(COUNTS)
    assert [found.schema[name] for name in COSTS] == [MONEY] * len(COSTS)


def test_calls_are_those_of_the_export_and_only_what_is_asked_for() -> None:
    whole = exported("calls.parquet")
    calls = tallybook.calls([LOGS], ledger=False)
    assert calls.collect_schema() == whole.schema
    assert calls.collect().equals(whole)
    dear = calls.filter(pl.col("record") > 6).select("record", "cost_usd")
    expected = whole.filter(pl.col("record") > 6).select("record", "cost_usd")
    assert 0 < expected.height < whole.height
    assert dear.collect().equals(expected)
    assert calls.head(2).collect().equals(whole.head(2))


def test_calls_take_the_filters_of_the_commands() -> None:
    (model,) = exported("one.parquet")["model"].unique()[:1]
    calls = tallybook.calls(LOGS, ledger=False, model=f"{model[:4]}*", until="2000-01-01")
    assert calls.collect().height == 0
    found = tallybook.calls(LOGS, ledger=False, model=f"{model[:4]}*").collect()
    assert set(found["model"]) >= {model}
    with pytest.raises(UsageError, match="nowhere"):
        tallybook.usage("nowhere", ledger=False)


def test_a_ledger_is_used_where_one_is_named(tmp_path: Path) -> None:
    first = tallybook.usage(LOGS, ledger=tmp_path / "ledger")
    assert (tmp_path / "ledger" / "catalog.sqlite").exists()
    assert tallybook.usage(LOGS, ledger=tmp_path / "ledger").equals(first)
    assert tallybook.calls(LOGS, ledger=tmp_path / "ledger").collect().height > 0


def test_read_has_every_record_with_what_became_of_it() -> None:
    records = tallybook.read(LOGS)
    calls = exported("counted.parquet")
    counted = records.filter(
        pl.col("duplicate_of").is_null(), pl.col("kind").is_in(["call", "sum", "thread"])
    )
    assert records.height > counted.height == calls.height
    assert counted["cost_usd"].sum() == calls["cost_usd"].sum()


def test_records_that_are_priced_again_cost_the_same() -> None:
    records = tallybook.read(LOGS)
    again = tallybook.price(records)
    assert again.columns[-1] == "price_status"
    assert again["cost_usd"].to_list() == records["cost_usd"].to_list()


def test_a_frame_of_ones_own_is_priced_by_what_it_states() -> None:
    # gpt-5.2: $1.75 and $14 a million; the cached part at a tenth (OpenAI's price list of 2026).
    frame = pl.DataFrame(
        {
            "name": ["x", "y"],
            "model": ["gpt-5.2", "no-such-model"],
            "provider": ["openai", None],
            "timestamp": pl.Series(["2026-03-01T00:00:00Z"] * 2).str.to_datetime(time_zone="UTC"),
            "uncached_input_tokens": [1000, 1],
            "cached_input_tokens": [10_000, 0],
            "output_tokens": [100, 1],
        }
    )
    found = tallybook.price(frame)
    assert found["cost_usd"].to_list() == [Decimal("0.0049"), None]
    assert found.columns[:7] == frame.columns
    assert found["price_status"][1] != found["price_status"][0]


def test_a_price_file_of_ones_own_is_used(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        '[[price]]\nmodel = "no-such-model"\ninput = 2\noutput = 10\n'
    )
    frame = pl.DataFrame({"model": ["no-such-model"], "output_tokens": [1_000_000]})
    found = tallybook.price(frame, prices=tmp_path / "prices.toml")
    assert found["cost_usd"].to_list() == [Decimal(10)]


def test_calls_that_are_priced_again_name_the_prices_of_now(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[[price]]\nmodel = "m"\ninput = 2\noutput = 10\n')
    calls = tallybook.calls(LOGS, ledger=False).collect()
    (first,) = set(calls["price_digest"])
    assert set(tallybook.price(calls)["price_digest"]) == {first}
    again = tallybook.price(calls, prices=tmp_path / "prices.toml")
    of_the_file = tallybook.calls(LOGS, ledger=False, prices=tmp_path / "prices.toml").collect()
    assert set(again["price_digest"]) == set(of_the_file["price_digest"]) != {first}
