"""Reads what others say was used: another tool's JSON, a provider's usage or cost export.

Each form is known by its keys; a file of no known form is refused. Counts are put in one way: the
prompt as a whole, of it what was read from and written to a cache, the output with its reasoning.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from tallybook.errors import TallybookError
from tallybook.report.line_items import SEARCH, TOOL, Lines, counts, kind_of, model_and_kind
from tallybook.values import decode

Record = Mapping[str, Any]

_CENT: Final = Decimal("0.01")
_DUST: Final = Decimal("0.000001")  # of sums of binary floats


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one day and model; None is what is not said.

    `rounding` is how far the cost may be from the true one by being rounded. `costs` are its parts
    by `line_items.KINDS`, all of them, where the other states them; what is not there is nothing.
    """

    day: str | None = None
    model: str | None = None
    calls: int | None = None
    input: int | None = None  # the whole prompt
    cached: int | None = None
    creation: int | None = None
    output: int | None = None  # with reasoning
    cost: Decimal | None = None
    rounding: Decimal = _DUST
    costs: Mapping[str, Decimal] | None = None

    @property
    def tokens(self) -> int | None:
        """Prompt and output that are stated; None where neither is."""
        return _sum(self.input, self.output)


class Statements(msgspec.Struct, frozen=True):
    """All that a file says, and what of ours it speaks of.

    `zone` is that of its days, None the machine's; `providers` are ids of the price list and
    `sources` ours, None where it may be any. `period` is what a `day` names: a day, the first of a
    week, or a month (`2026-05`).
    """

    form: str
    rows: Sequence[Statement]
    zone: str | None = "UTC"
    providers: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    period: str = "day"


_VERSIONS: Final = re.compile(r"[ .]")
_DATED: Final = re.compile(r"-(?:20\d{2}-?\d{2}-?\d{2}|latest)$")
_TURNED: Final = re.compile(r"^claude-(\d+(?:-\d+)?)-([a-z]+)$")
_ADDED: Final = re.compile(r"\[[^\]]*\]$|:(?:free|beta|thinking)$")


def canonical(model: str | None) -> str | None:
    """A model's name as all spell it: `anthropic/claude-opus-4.5`, `Claude Opus 4.5` and
    `claude-opus-4-5-20251101` are one.
    """
    if model is None or not model.strip():
        return None
    name = model.strip().lower().rpartition("/")[2]
    name = _DATED.sub("", _VERSIONS.sub("-", _ADDED.sub("", name)))
    return _TURNED.sub(r"claude-\2-\1", name)


def read_statements(content: bytes, name: str) -> Statements:
    """What the file `name` says. Raises TallybookError where it is of no known form."""
    text = content.decode("utf-8-sig", "replace")
    document = decode(text) if text.lstrip()[:1] in {"{", "["} else None
    found = _of_tool(document) if isinstance(document, dict) else None
    if found is not None:
        return found
    records = list(_of_pages(document) if document is not None else _of_table(text))
    for form, keys, read in _FORMS:
        if own := [record for record in records if keys <= record.keys()]:
            return Statements(form, read(own), providers=(form.partition("-")[0],))
    raise TallybookError(
        f"{name} is of no form that is known",
        hint="ccusage daily, weekly, monthly or session --json, tokscale graph, tokscale models, "
        "monthly or hourly --json, or an export of the usage or costs of OpenAI, Anthropic or "
        "OpenRouter, as CSV or JSON",
    )


# ---- other tools

_AGENTS: Final = {"claude": "claude-code", "codex": "codex", "9router": "9router"}


# Lists of ccusage's answers, the finest first, with the keys that name a row and their period.
_CCUSAGE: Final = (
    ("daily", ("date", "period"), "day"),
    ("weekly", ("week", "period"), "week"),
    ("monthly", ("month", "period"), "month"),
    ("session", (), "day"),
    ("sessions", (), "day"),
)


def _of_tool(document: Record) -> Statements | None:
    """The answer of ccusage or tokscale."""
    for name, keys, period in _CCUSAGE:
        if isinstance(document.get(name), list):
            return _ccusage(document[name], keys, period)
    days = document.get("contributions")
    if isinstance(days, list):
        pairs = [(_day(each.get("date")), e) for each in days for e in each.get("clients") or ()]
        return _tokscale(pairs)
    entries = document.get("entries")
    if isinstance(entries, list) and entries and isinstance(entries[0], dict):
        return _of_entries(document, entries)
    return None


def _of_entries(document: Record, entries: Sequence[Record]) -> Statements | None:
    """What tokscale says of models, of hours, or of months."""
    if "groupBy" in document:
        return _tokscale([(None, entry) for entry in entries])
    if "hour" in entries[0]:
        return _tokscale([(_day(entry.get("hour")), entry) for entry in entries])
    if "month" in entries[0]:
        return _tokscale([(_month(entry.get("month")), entry) for entry in entries], "month")
    return None


def _ccusage(rows: Sequence[Record], keys: Sequence[str], period: str) -> Statements:
    """Sums of days, weeks or months; those of sessions are of no day, and go together."""
    named = _month if period == "month" else _day
    found: list[Statement] = []
    sources: set[str] = set()
    for row in rows:
        when = named(next((row[key] for key in keys if row.get(key)), None))
        models = row.get("models") or {}
        agents = (row.get("metadata") or {}).get("agents") or [_agent(row)]
        sources.update(agents)
        entries = row.get("modelBreakdowns") or [
            {**counts, "modelName": name, "cost": row.get("costUSD") if len(models) == 1 else None}
            for name, counts in models.items()
        ]
        found += [_ccusage_row(when, entry) for entry in entries]
    known = tuple(sorted({_AGENTS[name] for name in sources if name in _AGENTS}))
    return Statements("ccusage", found, None, None, known or None, period)


def _agent(row: Record) -> str:
    stated = row.get("agent")
    if isinstance(stated, str) and stated != "all":
        return stated
    return "codex" if "models" in row else "claude"


def _ccusage_row(day: str | None, entry: Record) -> Statement:
    return Statement(
        day=day,
        model=canonical(entry.get("modelName")),
        **_prompt(entry, "inputTokens", "cacheReadTokens", "cacheCreationTokens"),
        output=_count(entry, "outputTokens"),
        cost=None if entry.get("missingPricing") else _money(entry.get("cost")),
    )


def _tokscale(pairs: Sequence[tuple[str | None, Record]], period: str = "day") -> Statements:
    """Sums by client and model, or those of months and hours, which name neither."""
    rows = [_tokscale_row(day, entry) for day, entry in pairs]
    clients: set[str] = set()
    for _, entry in pairs:
        merged = entry.get("mergedClients")
        named = merged.split(",") if isinstance(merged, str) else entry.get("clients")
        clients.update(str(each).strip() for each in named or [entry.get("client")])
    known = tuple(sorted({_AGENTS[name] for name in clients if name in _AGENTS}))
    return Statements("tokscale", rows, None, None, known or None, period)


def _tokscale_row(day: str | None, entry: Record) -> Statement:
    tokens = entry.get("tokens") or entry
    calls = entry.get("messages", entry.get("messageCount"))
    cost = _money(entry.get("cost"))
    return Statement(
        day=day,
        model=canonical(entry.get("modelId") or entry.get("model")),
        calls=calls if isinstance(calls, int) else None,
        **_prompt(tokens, "input", "cacheRead", "cacheWrite"),
        output=_sum(_count(tokens, "output"), _count(tokens, "reasoning")),
        cost=cost or None,  # it has 0 for a model without a price
    )


# ---- exports of providers


def _of_table(text: str) -> Iterator[Record]:
    """The records of a table with commas or tabs, by the names of its first line."""
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if "\t" in head else ",")
    for row in reader:
        yield {str(key).strip(): value or None for key, value in row.items() if key}


def _of_pages(document: Any) -> Iterator[Record]:
    """The results of one page, or of several, each with the times of its bucket."""
    for page in document if isinstance(document, list) else [document]:
        if not isinstance(page, dict):
            continue
        data = page.get("data")
        for bucket in data if isinstance(data, list) else [page]:
            if not isinstance(bucket, dict):
                continue
            results = bucket.get("results")
            if not isinstance(results, list):
                yield bucket
                continue
            times = {key: each for key, each in bucket.items() if key != "results"}
            yield from ({**times, **each} for each in results if isinstance(each, dict))


def _openai_usage(records: Sequence[Record]) -> list[Statement]:
    return [
        Statement(
            day=_day(record.get("start_time")),
            model=canonical(record.get("model")),
            calls=_count(record, "num_model_requests"),
            input=_count(record, "input_tokens"),
            cached=_count(record, "input_cached_tokens"),
            creation=_count(record, "input_cache_write_tokens"),
            output=_count(record, "output_tokens"),
        )
        for record in records
        if record.get("input_tokens") is not None
    ]


# Day, model, kind, cost and tokens of a line of costs.
_Line = tuple[str | None, str | None, str | None, Decimal, int | None]


def _by_kind(lines: Iterable[_Line], rounding: Decimal = _DUST) -> list[Statement]:
    """One statement a day and model of their lines."""
    found: dict[tuple[str | None, str | None], Lines] = {}
    for day, model, kind, cost, tokens in lines:
        found.setdefault((day, canonical(model)), Lines()).add(kind, cost, tokens)
    return [
        Statement(
            day=day,
            model=model,
            cost=each.cost,
            costs=each.costs,
            rounding=rounding * each.number,
            **counts(each.tokens),
        )
        for (day, model), each in found.items()
    ]


def _openai_costs(records: Sequence[Record]) -> list[Statement]:
    return _by_kind(_openai_lines(records))


def _openai_lines(records: Sequence[Record]) -> Iterator[_Line]:
    for record in records:
        amount = record.get("amount")
        value = amount.get("value") if isinstance(amount, dict) else record.get("amount_value")
        if (cost := _money(value)) is not None:
            named = model_and_kind(record.get("line_item"))
            yield _day(record.get("start_time")), *named, cost, _count(record, "quantity")


def _anthropic_usage(records: Sequence[Record]) -> list[Statement]:
    return [
        Statement(
            day=_day(record.get("starting_at")),
            model=canonical(record.get("model")),
            **_prompt(
                record,
                "uncached_input_tokens",
                "cache_read_input_tokens",
                "cache_creation_5m_input_tokens",
                "cache_creation_1h_input_tokens",
            ),
            output=_count(record, "output_tokens"),
        )
        for record in map(_with_writes, records)
    ]


def _with_writes(record: Record) -> Record:
    """The record with cache writes as they stand in a table; a page has them in an object."""
    nested = record.get("cache_creation")
    own = nested if isinstance(nested, dict) else {}
    return {**record, **{name.replace("ephemeral", "cache_creation"): n for name, n in own.items()}}


def _anthropic_console(records: Sequence[Record]) -> list[Statement]:
    kinds = ("no_cache", "cache_read", "cache_write_5m", "cache_write_1h")
    return [
        Statement(
            day=_day(record.get("usage_date_utc")),
            model=canonical(record.get("model_version")),
            **_prompt(record, *(f"usage_input_tokens_{kind}" for kind in kinds)),
            output=_count(record, "usage_output_tokens"),
        )
        for record in records
    ]


def _anthropic_costs(records: Sequence[Record]) -> list[Statement]:
    """The cost report: amounts are in cents."""
    return _by_kind(_anthropic_lines(records, "starting_at", "amount", _CENT))


def _anthropic_console_costs(records: Sequence[Record]) -> list[Statement]:
    """The console's costs, rounded to cents a line."""
    lines = _anthropic_lines(records, "usage_date_utc", "cost_usd", Decimal(1))
    return _by_kind(lines, rounding=_CENT / 2)


def _anthropic_lines(
    records: Sequence[Record], day: str, amount: str, unit: Decimal
) -> Iterator[_Line]:
    for record in records:
        if (cost := _money(record.get(amount))) is not None:
            model, cost_type = record.get("model"), record.get("cost_type")
            kind = kind_of(record.get("token_type"), cost_type)
            name = model or (cost_type if kind in {SEARCH, TOOL} else None)
            yield _day(record.get(day)), name, kind, cost * unit, None


def _openrouter_calls(records: Sequence[Record]) -> list[Statement]:
    return [
        Statement(
            day=_day(record.get("created_at")),
            model=canonical(record.get("model_permaslug")),
            calls=1,
            input=_count(record, "tokens_prompt"),
            cached=_count(record, "tokens_cached"),
            output=_count(record, "tokens_completion"),
            cost=_money(record.get("cost_total")),
        )
        for record in records
    ]


def _openrouter_days(records: Sequence[Record]) -> list[Statement]:
    names = ("date", "model", "requests", "prompt_tokens", "completion_tokens", "usage")
    if "Slug" in records[0]:
        names = ("Date", "Slug", "Requests", "Prompt Tokens", "Completion Tokens", "Usage")
    day, model, requests, prompt, completion, usage = names
    return [
        Statement(
            day=_day(record.get(day)),
            model=canonical(record.get(model)),
            calls=_count(record, requests),
            input=_count(record, prompt),
            output=_count(record, completion),
            cost=_money(record.get(usage)),
        )
        for record in records
    ]


# The name of each form, the keys that it is known by, and what reads it.
_FORMS: Final = (
    ("openai-costs", {"start_time", "amount"}, _openai_costs),
    ("openai-costs", {"start_time", "amount_value"}, _openai_costs),
    ("openai-usage", {"start_time", "input_tokens"}, _openai_usage),
    ("anthropic-usage", {"starting_at", "uncached_input_tokens"}, _anthropic_usage),
    ("anthropic-costs", {"starting_at", "amount"}, _anthropic_costs),
    ("anthropic-usage", {"usage_date_utc", "usage_input_tokens_no_cache"}, _anthropic_console),
    ("anthropic-costs", {"usage_date_utc", "cost_usd"}, _anthropic_console_costs),
    ("openrouter-activity", {"generation_id", "tokens_prompt"}, _openrouter_calls),
    ("openrouter-activity", {"Slug", "Prompt Tokens"}, _openrouter_days),
    (
        "openrouter-activity",
        {"date", "prompt_tokens", "completion_tokens", "requests"},
        _openrouter_days,
    ),
)


def _count(record: Record, name: str) -> int | None:
    """A count, be it written as text or as a float; None where it is none."""
    number = _money(record.get(name))
    return None if number is None or number != number.to_integral_value() else int(number)


def _prompt(record: Record, uncached: str, cached: str, *writes: str) -> dict[str, Any]:
    """The counts of a prompt whose parts are stated under these names."""
    read, written = _count(record, cached), _sum(*(_count(record, name) for name in writes))
    whole = _sum(_count(record, uncached), read, written)
    return {"input": whole, "cached": read, "creation": written}


def _sum(*counts: int | None) -> int | None:
    stated = [count for count in counts if count is not None]
    return sum(stated) if stated else None


def _money(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip().replace(",", "").removeprefix("$"))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _month(value: Any) -> str | None:
    """A month, as `2026-05`."""
    found = re.match(r"\d{4}-\d{2}(?!\d)", str(value).strip())
    return found[0] if found else None


def _day(value: Any) -> str | None:
    """The day of a date, a time, or seconds since 1970."""
    if value is None:
        return None
    text = str(value).strip()
    if re.fullmatch(r"\d{9,11}(?:\.0*)?", text):
        return datetime.fromtimestamp(int(float(text)), UTC).date().isoformat()
    found = re.match(r"\d{4}-\d{2}-\d{2}(?![\d-])", text)
    return found[0] if found else None
