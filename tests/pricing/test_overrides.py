"""The user's price file."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallybook.errors import TallybookError
from tallybook.pricing import price_file
from tallybook.pricing import rates as pricing
from tallybook.pricing.price_schema import schema
from tests.pricing.calls import claude, price_one

NINES = "9" * 5000
MILLION: dict[str, Any] = claude("1000000/0/0/0", context_tokens=1000)


def load(folder: Path, text: str) -> pricing.Rates:
    file = folder / "prices.toml"
    file.write_text(text, "utf-8")
    return pricing.load(None, file)


def test_a_stated_price_beats_the_list(tmp_path: Path) -> None:
    text = '[[price]]\nprovider = "anthropic"\nmodel = "claude-opus-4-8"\n'
    text += "input = 1.1\noutput = 2\ncache_read = 0.1\n"
    rates = load(tmp_path, text)
    row = price_one(rates, "claude-opus-4-8-20260101", **claude("1000/10/1000/0"))
    assert row["cost"] == Decimal("0.00122")
    assert row["price_status"] == "priced"
    google = price_one(rates, "claude-opus-4-8", **MILLION, provider="google")
    assert google["cost"] == Decimal(5)


def test_a_price_for_a_model_that_no_list_has(tmp_path: Path) -> None:
    rates = load(tmp_path, '[[price]]\nmodel = "In-House-7B"\ninput = 1\noutput = 3\n')
    row = price_one(rates, "in-house-7b", **claude("1000/10/1000/0"), provider="our-gateway")
    assert (row["cost"], row["price_status"]) == (Decimal("0.00203"), "priced_fallback_rate")
    assert row["price_model"] == "in-house-7b"


def test_a_price_holds_from_and_until(tmp_path: Path) -> None:
    text = '[[price]]\nmodel = "o3"\ninput = 1\nvalid_from = 2026-01-01\nvalid_to = "2026-02-01"\n'
    rates = load(tmp_path, text)
    hour = timedelta(hours=1)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    times = (start - hour, start, end - hour, end)
    costs = [price_one(rates, "o3", **MILLION, timestamp=time)["cost"] for time in times]
    assert costs == [Decimal(2), Decimal(1), Decimal(1), Decimal(2)]


@pytest.mark.parametrize(("year", "status"), [(2025, "before_first_price"), (2027, "unpriced")])
def test_outside_its_only_price_a_model_has_none(tmp_path: Path, year: int, status: str) -> None:
    text = '[[price]]\nmodel = "m"\ninput = 1\nvalid_from = 2026-01-01\nvalid_to = 2026-12-31\n'
    at = datetime(year, 6, 1, tzinfo=UTC)
    row = price_one(load(tmp_path, text), "m", **MILLION, timestamp=at)
    assert (row["cost"], row["price_status"]) == (None, status)


def test_a_price_may_have_tiers(tmp_path: Path) -> None:
    text = '[[price]]\nmodel = "m"\ninput = 1\noutput = 2\n'
    text += "tiers = [{above = 1000, input = 3}]\n"
    rates = load(tmp_path, text)
    assert price_one(rates, "m", **claude("1000/10/0/0"))["cost"] == Decimal("0.00102")
    assert price_one(rates, "m", **claude("1001/10/0/0"))["cost"] == Decimal("0.003023")


def test_of_two_prices_the_later_holds(tmp_path: Path) -> None:
    text = '[[price]]\nmodel = "m"\ninput = 1\n[[price]]\nmodel = "m"\ninput = 2\n'
    assert price_one(load(tmp_path, text), "m", **MILLION)["cost"] == Decimal(2)


@pytest.mark.parametrize(
    ("provider", "cost"), [(None, "2.5"), ("azure", "2.5"), ("openrouter", None)]
)
def test_an_alias_names_the_model_behind_a_deployment(
    tmp_path: Path, provider: str | None, cost: str | None
) -> None:
    text = '[[alias]]\nfrom = "My-Deployment"\nprovider = "azure"\nto = "gpt-5.4"\n'
    row = price_one(load(tmp_path, text), "my-deployment", **MILLION, provider=provider)
    assert row["cost"] == (None if cost is None else Decimal(cost))


def test_a_discount_is_for_everything_its_provider_lists(tmp_path: Path) -> None:
    rates = load(tmp_path, '[[discount]]\nprovider = "openai"\nfactor = 0.85\n')
    row = price_one(rates, "gpt-5", **MILLION, web_search_requests=100)
    assert (row["uncached_input_cost"], row["web_search_cost"]) == (
        Decimal("1.0625"),
        Decimal("0.85"),
    )
    assert price_one(rates, "claude-opus-5", **MILLION)["cost"] == Decimal(5)
    assert price_one(rates, "gpt-5", **MILLION, provider="azure")["cost"] == Decimal("1.25")


def test_a_discount_has_a_period_and_the_later_one_holds(tmp_path: Path) -> None:
    text = '[[discount]]\nprovider = "openai"\nfactor = 0.9\n'
    text += '[[discount]]\nprovider = "openai"\nfactor = 1.1\nvalid_from = 2026-02-01\n'
    text += "valid_to = 2026-03-01\n"
    rates = load(tmp_path, text)
    days = (datetime(2026, month, day, tzinfo=UTC) for month, day in ((1, 31), (2, 1), (3, 1)))
    costs = [price_one(rates, "gpt-5", **MILLION, timestamp=day)["cost"] for day in days]
    assert costs == [Decimal("1.125"), Decimal("1.375"), Decimal("1.125")]


def test_a_price_in_another_currency_costs_what_that_cost_on_the_day(tmp_path: Path) -> None:
    text = '[[price]]\nmodel = "m"\ninput = 2\ncurrency = "EUR"\ninput_audio = 10\noutput = 1\n'
    text += '[[currency]]\ncode = "eur"\nusd = 1.05\nvalid_to = 2026-02-01\n'
    text += '[[currency]]\ncode = "EUR"\nusd = 1.1\nvalid_from = 2026-02-01\n'
    rates = load(tmp_path, text)
    days = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2)]
    costs = [price_one(rates, "m", **MILLION, timestamp=day)["cost"] for day in days]
    assert costs == [Decimal("2.1"), Decimal("2.2")]
    audio = price_one(rates, "m", **MILLION, timestamp=days[1], audio_input_tokens=100_000)
    assert audio["cost"] == Decimal("3.08")  # 0.9 M at 2 EUR and 0.1 M at 10 EUR


def test_a_price_in_credits_costs_what_the_provider_asked_for_them(tmp_path: Path) -> None:
    text = ""
    for provider in ("seller", "other", "third"):
        text += f'[[price]]\nprovider = "{provider}"\nmodel = "m"\ninput = 50\n'
        text += 'currency = "credits"\n'
    text += "[[credit]]\nusd = 0.1\n"
    text += '[[credit]]\nprovider = "seller"\nusd = 0.04\nvalid_to = 2026-02-01\n'
    text += '[[credit]]\nprovider = "Seller"\nusd = 0.05\nvalid_from = 2026-02-01\n'
    rates = load(tmp_path, text)
    days = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2)]
    costs = [
        price_one(rates, "m", **MILLION, provider=provider, timestamp=day)["cost"]
        for provider in ("seller", "other")
        for day in days
    ]
    assert costs == [Decimal(2), Decimal("2.5"), Decimal(5), Decimal(5)]


def test_the_schema_has_the_keys_that_a_price_file_has() -> None:
    found = schema()["properties"]
    assert found.keys() == price_file.KEYS.keys()
    readme = Path("README.md").read_text("utf-8")
    text = readme.split("<!-- price file -->")[1].split("```")[1].removeprefix("toml\n")
    kinds = {str: "string", Decimal: "number", int: "number", date: "string", list: "array"}
    for section, entries in tomllib.loads(text, parse_float=Decimal).items():
        entry = found[section]["items"]
        for each in entries:
            assert set(entry["required"]) <= each.keys() <= entry["properties"].keys()
            told = {key: entry["properties"][key]["type"] for key in each}
            assert told == {key: kinds[type(value)] for key, value in each.items()}


@pytest.mark.parametrize("section", ["alias", "discount", "free", "currency", "credit", "price"])
def test_what_the_schema_asks_for_the_reader_does(tmp_path: Path, section: str) -> None:
    asked = schema()["properties"][section]["items"]["required"]
    for missing in asked:
        values = {key: "1" if key in {"factor", "usd"} else "'x'" for key in asked}
        more = ["input = 1"] if section == "price" else []
        lines = [f"{key} = {value}" for key, value in values.items() if key != missing] + more
        with pytest.raises(price_file.PriceFileError, match=f"{missing}: is missing"):
            load(tmp_path, "\n".join([f"[[{section}]]", *lines]))
        load(tmp_path, "\n".join([f"[[{section}]]", *lines, f"{missing} = {values[missing]}"]))


def test_the_readmes_price_file_is_one(tmp_path: Path) -> None:
    readme = Path("README.md").read_text("utf-8")
    text = readme.split("<!-- price file -->")[1].split("```")[1].removeprefix("toml\n")
    rates = load(tmp_path, text)
    day = datetime(2026, 8, 1, tzinfo=UTC)
    azure = price_one(rates, "My-Deployment", **MILLION, provider="azure", timestamp=day)
    assert azure["cost"] == Decimal("2.376")  # 2.2 EUR
    openai = price_one(rates, "gpt-5", **MILLION, provider="openai", timestamp=day)
    assert openai["cost"] == Decimal("1.0625")
    assert price_one(rates, "x", **MILLION, provider="our-cluster")["cost"] == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# mine\n\n[[price]]\nmodel = 'a'\ninput = 1\n\n[[price]]\nmodel = 'b'\ninput = -1", 9),
        ("[[price]]\nmodel = 'a'\ninput = 1\ninpt = 2", 4),
        ("[[free]]\nprovider = 'a'\n[[price]]\ninput = 1", 3),  # the key is missing: the entry
        ("[[price]]\nmodel = 'a'\ninput = 1\ntiers = [{above = 0}]", 4),
        ("[[price]]\nmodel = 'a'\ninput = 1\n[[price.tiers]]\nabove = 0", 5),
        ("\n[[prices]]\nmodel = 'a'", 2),
        ("[[price]]\nmodel = 'a'\ncurrency = 'EUR'\ninput = 1", 3),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(price_file.PriceFileError) as raised:
        load(tmp_path, text)
    assert raised.value.message.startswith(f"{tmp_path / 'prices.toml'}: line {line}: ")


def test_a_provider_may_be_free(tmp_path: Path) -> None:
    rates = load(tmp_path, '[[free]]\nprovider = "our-cluster"\n')
    row = price_one(rates, "gpt-oss-120b", **MILLION, provider="Our-Cluster")
    assert (row["cost"], row["price_status"]) == (Decimal(0), "free")


def test_the_file_is_named_and_changes_the_digest(tmp_path: Path, rates: pricing.Rates) -> None:
    own = load(tmp_path, '[[free]]\nprovider = "x"\n')
    assert own.sources == [*rates.sources, "prices prices.toml"]
    assert own.digest != rates.digest
    assert own.digest == load(tmp_path, '[[free]]\nprovider = "x"\n').digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price = 3", "price: has to be a list of tables"),
        ("[price]\nmodel = 'm'", "price: has to be a list of tables"),
        ("[[prices]]\nmodel = 'm'", "prices: is not a key"),
        ("[[price]]\nmodel = 'm'\ninput = 1\ninpt = 2", "price[1].inpt: is not a key"),
        ("[[price]]\ninput = 1", "price[1].model: is missing"),
        ("[[price]]\nmodel = 7\ninput = 1", "price[1].model: has to be a name"),
        ("[[price]]\nmodel = 'm'", "price[1].input: is missing"),
        ("[[price]]\nmodel = 'm'\ninput = '1'", "price[1].input: has to be a number"),
        ("[[price]]\nmodel = 'm'\ninput = true", "price[1].input: has to be a number"),
        ("[[price]]\nmodel = 'm'\ninput = -1", "price[1].input: -1 is not a price"),
        ("[[price]]\nmodel = 'm'\noutput = nan", "price[1].output: NaN is not a price"),
        ("[[price]]\nmodel = 'm'\noutput = 1e-10", "price[1].output: 1E-10 has more than nine"),
        ("[[price]]\nmodel = 'm'\ninput = 1\nvalid_from = 'soon'", "price[1].valid_from: 'soon'"),
        ("[[price]]\nmodel = 'm'\ninput = 1\nvalid_to = 12:00:00", "price[1].valid_to: "),
        (
            "[[price]]\nmodel = 'm'\ninput = 1\nvalid_from = 2026-02-01\nvalid_to = 2026-01-01",
            "price[1].valid_to: has to be later",
        ),
        (
            "[[price]]\nmodel = 'm'\ninput = 1\ntiers = [{above = 0, input = 1}]",
            "price[1].tiers[1].above: has to be a whole number",
        ),
        (
            (
                "[[price]]\nprovider = 'a'\nmodel = 'm'\ninput = 1\ncurrency = 'credits'\n"
                "[[credit]]\nprovider = 'b'\nusd = 1"
            ),
            "price[1].currency: there is no [[credit]] of provider 'a'",
        ),
        ("[[credit]]\nprovider = 'a'", "credit[1].usd: is missing"),
        ("[[credit]]\nprovider = 'a'\ncode = 'EUR'\nusd = 1", "credit[1].code: is not a key"),
        ("[[alias]]\nfrom = 'a'", "alias[1].to: is missing"),
        ("[[discount]]\nprovider = 'a'", "discount[1].factor: is missing"),
        ("[[discount]]\nprovider = 'a'\nfactor = inf", "discount[1].factor: Infinity is not"),
        ("[[free]]\nprovider = 'a'\n[[free]]\nmodel = 'b'", "free[2].model: is not a key"),
        ("[[price]", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(price_file.PriceFileError) as raised:
        load(tmp_path, text)
    assert isinstance(raised.value, TallybookError)
    assert raised.value.message.startswith(f"{tmp_path / 'prices.toml'}: ")
    assert said in raised.value.message


FACTOR = "[[discount]]\nprovider = 'a'\nfactor = "
PRICE = "[[price]]\nmodel = 'gpt'\ninput = "
TIER = "[[price]]\nmodel = 'gpt'\ninput = 1\n[[price.tiers]]\ninput = 2\nabove = "


@pytest.mark.parametrize(
    ("before", "number", "said"),
    [
        (FACTOR, "1e-99999999", "discount[1].factor: 1E-99999999 has more than nine decimals"),
        (FACTOR, "1e99999999", "discount[1].factor: 1E+99999999 is not a factor"),
        (FACTOR, "1e-9999999999999999999", "discount[1].factor: has to be a number"),
        (FACTOR, "-0.5", "discount[1].factor: -0.5 is not a factor"),
        (FACTOR, "nan", "discount[1].factor: NaN is not a factor"),
        (FACTOR, NINES, ": factor: a number of thousands of digits"),
        (FACTOR, f"0x{NINES}", "discount[1].factor: a number of 20000 bits is not a factor"),
        (FACTOR, f"0.{NINES}", "discount[1].factor: 0.999"),
        (FACTOR, f"{NINES}.0", "discount[1].factor: 999"),
        (PRICE, "1e-99999999", "price[1].input: 1E-99999999 has more than nine decimals"),
        (PRICE, "1e99999999", "price[1].input: 1E+99999999 is not a price, of model 'gpt'"),
        (PRICE, "-inf", "price[1].input: -Infinity is not a price"),
        (PRICE, "-0.1", "price[1].input: -0.1 is not a price"),
        (PRICE, f"-{NINES}", ": input: a number of thousands of digits"),
        (PRICE, f"1.{NINES}", "price[1].input: 1.999"),
        (PRICE, f"'{NINES}'", "price[1].input: has to be a number, not '999"),
        (PRICE, "[" * 5000 + "]" * 5000, ": tables or lists are nested too deep"),
        (TIER, "1_000_000_000_000_000", "price[1].tiers[1].above: has to be a whole number"),
        (TIER, NINES, ": above: a number of thousands of digits"),
        (TIER, "1e-99999999", "price[1].tiers[1].above: has to be a whole number"),
    ],
    ids=lambda value: value[-30:],
)
def test_a_number_that_is_no_price_is_named_at_once_and_in_few_words(
    tmp_path: Path, before: str, number: str, said: str
) -> None:
    with pytest.raises(price_file.PriceFileError) as raised:
        load(tmp_path, f"{before}{number}\n")
    assert raised.value.message.startswith(f"{tmp_path / 'prices.toml'}: ")
    assert said in raised.value.message
    assert len(raised.value.message) < 200 + len(str(tmp_path))


def test_a_price_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(price_file.PriceFileError, match=r"nowhere\.toml"):
        pricing.load(None, tmp_path / "nowhere.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(price_file.PriceFileError, match="not valid TOML"):
        pricing.load(None, tmp_path / "bytes.toml")
