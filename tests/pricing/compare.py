"""Compares the rate table with another list of prices: `python -m tests.pricing.compare FILE`.

FILE is LiteLLM's `model_prices_and_context_window_backup.json`, which knows today's prices, or the
`snapshot.json` of model-prices, which has periods. Over the models of the fixtures, or those that
are named, each difference is a line with its day. `--known FILE` leaves out the lines that stand
there: write those into it that were looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallybook.pricing import rates as pricing
from tallybook.pricing.table import micros, per_million
from tallybook.pricing.tariff import Key

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
_LITELLM: Final = {
    "input": "input_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "output": "output_cost_per_token",
}
_OURS: Final = {
    "input": "uncached",
    "cache_read": "cached",
    "cache_write": "creation_5m",
    "output": "output",
}


class Listed(NamedTuple):
    """What another list says of a model from a moment on, in dollars per million tokens."""

    model: str
    provider: str | None
    since: datetime | None
    rates: Mapping[str, Decimal]


def read(document: Mapping[str, Any]) -> Iterator[Listed]:
    """Every price of a list, by the form that it has."""
    if isinstance(document.get("prices"), dict):
        for provider, models in document["prices"].items():
            for model, variants in models.items():
                yield from _periods(provider, model, variants.get("standard", []))
        return
    for name, entry in document.items():
        rates = {
            ours: round(Decimal(str(entry[theirs])).scaleb(6), 9)
            for ours, theirs in _LITELLM.items()
            if isinstance(entry.get(theirs), int | float)
        }
        if "input" in rates:
            provider, slash, model = name.partition("/")
            yield Listed(model if slash else name, provider if slash else None, None, rates)


def _periods(provider: str, model: str, periods: list[dict[str, Any]]) -> Iterator[Listed]:
    for period in periods:
        stated = period["rates"] or {}
        rates = {name: Decimal(str(stated[name])) for name in _OURS if name in stated}
        if rates and period["start"]:
            yield Listed(model, provider, datetime.fromisoformat(period["start"]), rates)


def differences(theirs: Listed, ours: pricing.Rates) -> str | None:
    """The line on what is different; None where nothing is, or where we have no such model."""
    since = theirs.since or datetime.now(UTC)
    tariff = ours.quote(Key(theirs.provider, theirs.model), since).tariff
    # Of peak hours the other lists have the dearer price, or the cheaper one: any of ours will do.
    _, rows = tariff.in_force(micros(since), None)
    if not rows or tariff.match is None or tariff.match.assumed:
        return None
    found = []
    for name, rate in theirs.rates.items():
        own = {
            per_million(getattr(row, _OURS[name]))
            for row in rows
            if row.above == 0 and _OURS[name] not in row.borrowed
        }
        if own - {None} and rate not in own:
            here = "/".join(sorted(f"{each.normalize():f}" for each in own if each is not None))
            found.append(f"{name} {here} here, {rate.normalize():f} there")
    day = since.date() if theirs.since else "today"
    who = f"{theirs.provider}/" if theirs.provider else ""
    return f"{who}{theirs.model} {day}: {'; '.join(found)}" if found else None


def models_of_fixtures() -> set[str]:
    """The models that the expected rows of the fixtures name."""
    lines = (
        line
        for path in FIXTURES.glob("*/*/expected.jsonl")
        for line in path.read_text("utf-8").splitlines()
    )
    named = (json.loads(line).get("model") for line in lines if line.strip())
    return {model for model in named if model}


def main() -> None:
    """Print the differences that are not known yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path)
    parser.add_argument("models", nargs="*", help="default: the models of the fixtures")
    parser.add_argument("--known", type=Path, help="lines that were looked at")
    given = parser.parse_args()
    known = set(given.known.read_text("utf-8").splitlines()) if given.known else set()
    wanted = set(given.models) or models_of_fixtures()
    ours = pricing.load(None, None)
    listed = read(json.loads(given.list.read_text("utf-8")))
    lines = {differences(each, ours) for each in listed if each.model in wanted}
    for line in sorted(line for line in lines if line is not None and line not in known):
        print(line)


if __name__ == "__main__":
    main()
