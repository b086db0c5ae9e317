"""What a user of 9router has set as prices is a price file as good as any."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallybook.errors import TallybookError
from tallybook.files.price_file import read_price_file
from tallybook.pricing import rates as pricing
from tallybook.pricing.price_file import read_overrides
from tests.pricing.calls import claude, price_one

SET = {
    "openai": {"gpt-5": {"input": 1.25, "output": 10, "cached": 0.125, "reasoning": 99}},
    "cx": {"gpt-5.3-codex": {"input": 2, "output": 3, "cached": 0, "cache_creation": 4}},
    "ollama-local": {"llama3.3": {"input": 0, "output": 0}},
    "odd": {"": {"input": 1}, " ": {"input": 1}, "none": {}, "null": {"input": None, "cached": ""}},
    "texts": {"text": {"input": "1", "output": " 2 ", "cached": ""}},
}


def database(path: Path, prices: dict[str, Any]) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE kv (scope TEXT, key TEXT, value TEXT)")
        values = [("pricing", name, json.dumps(models)) for name, models in prices.items()]
        values += [("modelAliases", "x", '"secret"'), ("pricing", "broken", "{")]
        made.executemany("INSERT INTO kv VALUES (?, ?, ?)", values)
        made.commit()
    return path


def document(path: Path, prices: dict[str, Any]) -> Path:
    text = {"providerConnections": [{"apiKey": "secret"}], "pricing": prices, "settings": {}}
    path.write_text(json.dumps(text, indent=2))
    return path


FORMS = {"data.sqlite": database, "db.json": document}


@pytest.mark.parametrize("name", FORMS)
def test_prices_set_there_hold_for_their_provider_and_model(tmp_path: Path, name: str) -> None:
    rates = pricing.load(None, FORMS[name](tmp_path / name, SET), read_price_file)
    counts = claude("1000/100/1000/1000")
    row = price_one(rates, "gpt-5", **counts, provider="openai")
    # 1000 uncached and 1000 written at 1.25, for no other rate was set; 1000 read at 0.125.
    assert row["cost"] == Decimal("0.003625")
    row = price_one(rates, "gpt-5.3-codex", **counts, provider="codex")
    # A cache read of 0 is not set; the write is.
    assert row["cost"] == Decimal("0.0083")
    assert price_one(rates, "llama3.3", **counts, provider="ollama-local")["cost"] == 0
    assert price_one(rates, "text", **counts, provider="texts")["cost"] == Decimal("0.0032")
    assert price_one(rates, "null", **counts, provider="odd")["cost"] is None


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (-1, "-1 is not a price"),
        (float("nan"), "1E+308 is not a price"),
        (10_000_000, "10000000"),
        (10**30, "1000000000000000000000000000000 is not a price"),
        ("one", "has to be a number, not 'one'"),
        (True, "has to be a number, not True"),
        ([1], "has to be a number, not 'a list or an object'"),
    ],
    ids=str,
)
def test_a_price_that_is_none_is_said_with_its_model(
    tmp_path: Path, name: str, rate: object, said: str
) -> None:
    path = FORMS[name](tmp_path / name, {"openai": {"gpt-5": {"input": 1, "cached": rate}}})
    with pytest.raises(TallybookError) as raised:
        pricing.load(None, path, read_price_file)
    assert raised.value.message.startswith(f"{path}: price[1].cache_read: {said}")
    assert raised.value.message.endswith("of model 'gpt-5'")


def test_half_a_character_costs_no_price(tmp_path: Path) -> None:
    prices = {"openai": {"gpt-5": {"input": 1}, "cut \ud83d": {"input": 2}}}
    for name, made in FORMS.items():
        overrides = read_overrides(made(tmp_path / name, prices), read_price_file)
        assert [price.model for price in overrides.prices] == ["cut ?", "gpt-5"]


@pytest.mark.parametrize("name", FORMS)
def test_nothing_but_prices_is_taken_out(tmp_path: Path, name: str) -> None:
    content = read_price_file(FORMS[name](tmp_path / name, SET))
    assert b"secret" not in content
    assert content.count(b"[[price]]") == 4


def test_names_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = 'a "b"\n\\c/ü😀\x7f\x01'
    path = document(tmp_path / "db.json", {"p": {odd: {"input": 1}}})
    overrides = read_overrides(path, read_price_file)
    assert [price.model for price in overrides.prices] == [odd]


def test_a_price_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "m"\ninput = 1\n')
    assert read_price_file(path) == path.read_bytes()


def test_a_database_without_prices_sets_none(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE other (id)")
    assert read_price_file(path) == b""


def test_a_damaged_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    with pytest.raises(TallybookError, match=r"data\.sqlite"):
        pricing.load(None, path, read_price_file)
