"""A report can be priced again as it was on another day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallybook.errors import UsageError
from tallybook.ledger.kept_prices import at, keep
from tallybook.pricing import rates as pricing
from tallybook.pricing.price_file import Overrides, read_overrides
from tallybook.pricing.rates import Rates, Table
from tallybook.pricing.tariff import Key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "prices"
    made.mkdir()
    return made


def own(tmp_path: Path, dollars: int) -> Rates:
    file = tmp_path / "mine.toml"
    file.write_text(f'[[price]]\nmodel = "m"\ninput = {dollars}\n')
    return Rates(Table("1.0", "abc", ()), read_overrides(file))


def test_the_same_digest_gives_the_same_prices(tmp_path: Path, folder: Path) -> None:
    first, second = own(tmp_path, 1), own(tmp_path, 2)
    keep(folder, first)
    keep(folder, second)
    keep(folder, first)
    assert len(list(folder.iterdir())) == 2
    again, note = at(folder, first.digest[:8])
    assert (again.digest, again.sources, note) == (first.digest, first.sources, None)
    then, anew, later = (each.quote(Key(model="m")).rates for each in (first, again, second))
    assert anew == then != later


def test_a_whole_list_is_kept(folder: Path) -> None:
    today = pricing.load(None, None)
    keep(folder, today)
    again, _ = at(folder, today.digest)
    assert again.quote(Key(model="gpt-5.4")) == today.quote(Key(model="gpt-5.4"))


def test_a_day_means_the_prices_that_were_in_use_then(tmp_path: Path, folder: Path) -> None:
    for day, dollars in (("2026-01-05", 1), ("2026-03-01", 2)):
        keep(folder, own(tmp_path, dollars))
        (kept,) = (path for path in folder.iterdir() if not path.name.startswith("2026-0"))
        kept.rename(folder / f"{day}{kept.name[10:]}")
    for asked, dollars in (("2026-01-05", 1), ("2026-02-28", 1), ("2026-11-30", 2)):
        assert at(folder, asked)[0].digest == own(tmp_path, dollars).digest
    with pytest.raises(UsageError, match="no such price table"):
        at(folder, "2026-01-04")


@pytest.mark.parametrize("asked", ["0000", "yesterday", "2026-13-01x", "../x", ""])
def test_what_was_not_kept_is_an_error_that_names_what_was(folder: Path, asked: str) -> None:
    rates = Rates(Table("1.0", "abc", ()), Overrides())
    keep(folder, rates)
    with pytest.raises(UsageError) as raised:
        at(folder, asked)
    assert rates.digest in (raised.value.hint or "")


def test_other_rules_than_those_of_then_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = Rates(Table("1.0", "abc", ()), Overrides())
    keep(folder, rates)
    monkeypatch.setattr("tallybook.ledger.kept_prices.RULES", "other")
    assert "rules" in (at(folder, rates.digest)[1] or "")


def test_a_damaged_table_is_an_error(folder: Path) -> None:
    rates = Rates(Table("1.0", "abc", ()), Overrides())
    keep(folder, rates)
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:20])
    with pytest.raises(UsageError, match="damaged"):
        at(folder, rates.digest)


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "nowhere" / "prices", Rates(Table("1.0", "abc", ()), Overrides()))
