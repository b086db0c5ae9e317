"""`tallybook prices`: what models cost and when, by what source, and which have no price."""

from __future__ import annotations

import os
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallybook.commands import options, terminal
from tallybook.commands.options import UsageOptions, check_files
from tallybook.commands.output import Forms, chosen_format, put, put_answer, say
from tallybook.commands.program import app
from tallybook.errors import UsageError
from tallybook.render.formats import envelope
from tallybook.report.query import parse_day
from tallybook.urls import path_named
from tallybook.wording import counted

if TYPE_CHECKING:
    from tallybook.ledger.reading import Reading
    from tallybook.pricing.rates import Rates
    from tallybook.report.prices import Span
    from tallybook.report.query import Query

_EXAMPLES = """\b
Examples:
  tallybook prices gpt-5.4              all its rates, and how it was found
  tallybook prices claude-sonnet-4-5@20250929 --at 2026-03-01
  tallybook prices --provider openai    all models of a provider, as of now
  tallybook prices --unpriced           models of your logs without a price
  tallybook prices --unpriced LOGS --json
  tallybook prices --schema -o prices.schema.json

\b
Exit code 1 where nothing has the name."""


_Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]",
        help="As a log spells it; without one, every model. With --unpriced: the logs to look at.",
    ),
]
_At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="DATE",
        help="Only what holds on that day (UTC), or at 2026-11-20T14:30; default: all periods "
        "of a MODEL, else now.",
    ),
]


@app.command("prices", epilog=_EXAMPLES, short_help="What models cost, and which have no price.")
def prices(  # noqa: PLR0913, PLR0917 - one parameter an option
    names: _Names = None,
    at: _At = None,
    provider: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Who sells it, as a log names them.")
    ] = None,
    unpriced: Annotated[
        bool, typer.Option("--unpriced", help="The models of the logs that have no price.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON Schema of a file for --prices, for editors.")
    ] = False,
    everything: options.All = False,
    ledger: options.Ledger = None,
    no_ledger: options.NoLedger = False,
    prices: options.Prices = None,
    engine: options.Engine = None,
    format_: options.TableFormat = None,
    json: options.Json = False,
    output: options.Output = None,
) -> None:
    """Say what a model costs, by period, tier and way of being served, and where that is known
    from; or which models have no price.
    """
    if schema:
        _put_schema(output, others=bool(names or at or provider or unpriced or format_ or json))
        return
    chosen = chosen_format(format_, json=json, target=output, pageless="prices")
    if not all(names or ()):
        raise UsageError("MODEL is empty", hint="a variable that is not set?")
    check_files([], prices, output, "-o")
    if unpriced:
        if at or provider:
            raise UsageError("--unpriced goes with neither --at nor --provider")
        usage = UsageOptions(
            paths=[path_named(name) for name in names or ()] or None,
            everything=everything,
            ledger=ledger,
            no_ledger=no_ledger,
            prices=prices,
            engine=engine,
        )
        _put_unpriced(usage, chosen, output)
        return
    if everything or no_ledger or ledger or engine:
        raise UsageError("--all, --ledger, --no-ledger and --engine go with --unpriced")
    if len(names or ()) > 1:
        raise UsageError("one MODEL at a time", hint="without one all of them are listed")
    _put_rates(names[0] if names else None, provider, _span(at), _rates(prices), chosen, output)


def _put_schema(output: Path | None, *, others: bool) -> None:
    from json import dumps

    from tallybook.pricing.price_schema import schema

    if others:
        raise UsageError("--schema goes with -o alone")
    check_files([], None, output, "-o")
    put([f"{dumps(schema(), indent=2)}\n"], "json", output)


def _rates(price_file: Path | None) -> Rates:
    from tallybook.files.price_file import read_price_file
    from tallybook.pricing.rates import load

    home = terminal.home_folder(os.environ)
    own = price_file or terminal.price_file(home)
    return load(terminal.cache_folder(home), own, read_price_file)


def _span(at: str | None) -> Span | None:
    """The day or the instant that is asked about. Raises UsageError."""
    from tallybook.report.prices import Span

    if at is None:
        return None
    if "T" in at.upper():
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            raise UsageError(f"--at {at!r} is not a time", hint="write 2026-11-20T14:30") from None
        return Span(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    day = datetime.combine(parse_day(at, datetime.now(UTC).date(), "--at"), time(), UTC)
    return Span(day, day + timedelta(days=1))


def _put_rates(  # noqa: PLR0913, PLR0917 - what is asked, and how it is to be written
    model: str | None,
    provider: str | None,
    span: Span | None,
    rates: Rates,
    chosen: str,
    output: Path | None,
) -> None:
    from tallybook.pricing.tariff import Key
    from tallybook.report.prices import Span, fees_of, near, of_all, of_model

    if model is None:
        rows, path, close = of_all(rates, span or Span(datetime.now(UTC)), provider), [], []
        fees = []
    else:
        key = Key(provider, model)
        rows, path = of_model(rates, key, span), list(rates.quote(key).path)
        close = [] if rows else near(rates, model)
        fees = fees_of(rates, key, span) if rows else []
    answer = envelope(
        "prices",
        query={"model": model, "provider": provider, "at": _asked(span), "unpriced": False},
        prices=rates,
        rows=rows,
        totals={"rates": len(rows)},
        coverage={},
        path=path,
        near=close,
        tool_fees=fees,
    )
    left_out = _put(answer, chosen, output)
    if not rows:
        _say_nothing_found(answer)
        raise typer.Exit(1)
    _remark(answer, left_out)


def _asked(span: Span | None) -> str | None:
    from tallybook.pricing.table import micros
    from tallybook.report.prices import time_of

    return None if span is None else time_of(micros(span.first))


def _say_nothing_found(answer: dict[str, Any]) -> None:
    model, provider = answer["query"]["model"], answer["query"]["provider"]
    what = f"{model or 'any model'}{f' of {provider}' if provider else ''}"
    day = f" at {answer['query']['at']}" if answer["query"]["at"] else ""
    close = f"near names: {', '.join(answer['near'])}" if answer["near"] else "no name is near"
    say(f"no price is known for {what}{day}", *([*answer["path"], close] if model else []))


def _remark(answer: dict[str, Any], left_out: list[str]) -> None:
    from tallybook.render.prices import LEGEND

    if left_out:
        say(
            f"no room for {', '.join(left_out)}: a wider terminal, -o FILE or --json has them",
            dim=True,
        )
    say(*([LEGEND] if any(row["fallback"] for row in answer["rows"]) else []))
    say(f"prices: {', '.join(answer['prices']['sources'])}")


def _put_unpriced(usage: UsageOptions, chosen: str, output: Path | None) -> None:
    from tallybook.commands.answering import read

    query, question = usage.query(None), usage.question(output, "-o")
    answer, notes = read(question, lambda reading: (_unpriced(reading, query), reading.notes))
    _put(answer, chosen, output)
    count = len(answer["rows"])
    named = f"{counted(count, 'model')} without a price"
    say(*notes, named if count else "every token has a price")


def _unpriced(reading: Reading, query: Query) -> dict[str, Any]:
    from tallybook.report.prices import unpriced

    rows = unpriced(reading.batches(), query, reading.rates)
    return envelope(
        "prices",
        query={"unpriced": True, "paths": query.document()["paths"], "all": query.everything},
        prices=reading.rates,
        rows=rows,
        totals={name: sum(row[name] or 0 for row in rows) for name in ("calls", "unpriced_tokens")},
        coverage={"files": reading.files},
    )


def _put(answer: dict[str, Any], chosen: str, output: Path | None) -> list[str]:
    """Write an answer; the columns that found no room."""
    from tallybook.render.prices import csv_of, markdown, page
    from tallybook.report.prices import FIELDS, UNPRICED_FIELDS

    left_out: list[str] = []
    fields = UNPRICED_FIELDS if answer["query"]["unpriced"] else FIELDS
    forms = Forms(partial(csv_of, fields), markdown, partial(page, left_out=left_out))
    put_answer(answer, forms, chosen, output)
    return left_out
