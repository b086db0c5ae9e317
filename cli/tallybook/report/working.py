"""One call in full: where it stands, what its log states, its buckets, price and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallybook import schema
from tallybook.dialects.containment import DIALECTS
from tallybook.pricing.cost import NOT_BILLED, PRICED_COUNTS
from tallybook.pricing.media import billed, rate_of
from tallybook.pricing.rates import LATEST, Quote, Rates
from tallybook.pricing.table import TOKEN_RATES, Rate
from tallybook.pricing.tariff import Key, tier_of_prompt
from tallybook.pricing.tools import fee_of
from tallybook.report.codes import REASONS
from tallybook.report.fields import plain
from tallybook.report.prices import source_of, time_of, usd
from tallybook.report.summary import Row, money
from tallybook.values import names_in

Where = tuple[str, int, str | None]  # path, record, part

_WHO: Final = names_in(
    "call_id kind source provider model requested_model thread_id root_thread_id caller project"
    " timestamp calls path record part"
)
_READ: Final = ("evidence", "dialect", "rule", "assumed")
_TOOLS: Final = "tool_counts"
# Counts of a record as its reader understood them.
STATED: Final = (*schema.REPORTED_COUNTS, "web_search_requests", _TOOLS)
# What is priced, by the names of the buckets; what a later table has more stands as it is named.
_BUCKET_OF: Final = {
    "five_minutes": "cache_creation_5m_input_tokens",
    "one_hour": "cache_creation_1h_input_tokens",
}
_TOGETHER: Final = "uncached_tokens"  # two buckets that have one rate
_APART: Final = ("uncached_input_tokens", "unsplit_input_tokens")
# Counts of what is not text, by the count of text that holds them.
_MEDIA_IN: Final = {
    _TOGETHER: ("audio_input_tokens", "image_input_tokens"),
    "cached_input_tokens": ("cached_audio_input_tokens", "cached_image_input_tokens"),
    "output_tokens": ("audio_output_tokens", "image_output_tokens"),
}
# The buckets of a direction in the order in which a correction has them.
_DIRECTIONS: Final = {
    schema.INPUT: names_in(
        "uncached_input_tokens cached_input_tokens cache_creation_input_tokens"
        " cache_creation_1h_input_tokens unsplit_input_tokens"
    ),
    schema.OUTPUT: ("output_tokens", "reasoning_output_tokens"),
}


class Place(msgspec.Struct, frozen=True):
    """What lies beside rows: what the ledger keeps of their records, proofs, and their logs.

    `reported` are the counts as they were read, `corrections` those of a call, `logged` looks into
    the log at a row's record.
    """

    reported: Mapping[Where, Row]
    corrections: Mapping[str, Sequence[Row]]
    logged: Callable[[Row], Row]


def call_row(row: Row, worked: Row, place: Place, rates: Rates, left_out: Sequence[Row]) -> Row:
    """A row of the JSON document, of a USAGE row and its `cost.working`."""
    reported = row["reported_cost_usd"]
    refused = row["price_status"] == NOT_BILLED
    return {
        **{name: row[name] for name in _WHO},
        "timestamp": written(row["timestamp"]),
        "log": place.logged(row),
        **{name: row[name] for name in _READ},
        "reported": _reported(row, place),
        "buckets": _buckets(row),
        "unknown": [name for name in schema.BUCKETS if row[name] is None],
        "input_tokens": row["input_tokens"],
        "total_tokens": row["total_tokens"],
        "lower_bound": row["lower_bound"],
        "problems": list(row["problems"] or ()),
        "detail": row["detail"],
        "backfill": _proofs(row, place),
        "price": _price(row, rates),
        "arithmetic": [] if refused else _arithmetic(row, worked),
        **{f"{name}_usd": money(row[name]) for name in ("cost", "cost_low", "cost_high")},
        "reported_cost_usd": None if reported is None else plain(reported),
        "left_out": list(left_out),
    }


def entry(row: Row) -> Row:
    """A record that does not count, and why."""
    reason = row["duplicate_reason"] or row["kind"]
    return {
        **{name: row[name] for name in ("call_id", "source", "path", "record", "part", "kind")},
        "reason": reason,
        "words": REASONS.get(reason, reason),
        "duplicate_of": row["duplicate_of"],
        "thread_id": row["thread_id"],
        "model": row["model"],
        "timestamp": written(row["timestamp"]),
        **{
            name: row[name]
            for name in ("input_tokens", "cached_input_tokens", "output_tokens", "total_tokens")
        },
        "detail": row["detail"],
    }


def written(at: datetime | None) -> str | None:
    """A time as the documents write it."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _reported(row: Row, place: Place) -> Row:
    """The counts that the record states; without the ledger's row of it those that came of it."""
    found = place.reported.get((row["path"], row["record"], row["part"]), row)
    stated = {name: found[name] for name in STATED if found[name] is not None}
    tools = zip(schema.TOOL_COUNTS, stated.pop(_TOOLS, ()), strict=False)
    return stated | {name: number for name, number in tools if number is not None}


def _buckets(row: Row) -> list[Row]:
    return [
        {
            "bucket": name,
            "tokens": row[name],
            "origin": row[f"{name}_origin"],
            "how": _how(name, row),
        }
        for name in (*schema.BUCKETS, *schema.SUBCOUNTS)
        if row[name] is not None
    ]


def _how(bucket: str, row: Row) -> str | None:
    """The sum that gave a derived bucket; None where it is stated, or where no simple one fits."""
    origin = row[f"{bucket}_origin"]
    if origin not in {schema.DERIVED, schema.ASSUMED}:
        return None
    parts = {_APART[0]: _prompt(row), "output_tokens": _output(row)}.get(bucket, [])
    total = sum(sign * count for _, sign, count in parts)
    if len(parts) < 2 or total != row[bucket]:
        is_rise = row["running"] or row["kind"] == schema.CALL
        words = "rise of a running total" if is_rise else "what a sum has beyond its calls"
        return words if row["difference"] and row[bucket] else None
    summed = [f"{'−' if sign < 0 else '+'} {count:,} {name}" for name, sign, count in parts]
    return " ".join(summed).removeprefix("+ ")


def _prompt(row: Row) -> list[tuple[str, int, int]]:
    """What is taken out of the stated input, by what its dialect holds."""
    dialect = DIALECTS.get(row["dialect"] or "")
    if dialect is None or row["reported_input_tokens"] is None:
        return []
    written = row["reported_cache_creation_tokens"] or sum(
        row[f"reported_cache_creation_{life}_tokens"] or 0 for life in ("5m", "1h")
    )
    held = [
        ("cached", dialect.input_holds_cached, row["reported_cached_tokens"]),
        ("cache write", dialect.input_holds_cache_creation, written),
    ]
    times = 2 if schema.CACHE_TWICE in (row["problems"] or ()) else 1
    taken = [(name, -1, times * count) for name, holds, count in held if holds and count]
    return [("input", 1, row["reported_input_tokens"]), *taken]


def _output(row: Row) -> list[tuple[str, int, int]]:
    stated, reasoning = row["reported_output_tokens"], row["reasoning_output_tokens"]
    if stated is None or not reasoning:
        return []
    return [("output", 1, stated), ("reasoning", 1, reasoning)]


def _proofs(row: Row, place: Place) -> list[Row]:
    """The corrections of a call; those that its row has outgrown are told and not used."""
    stale = "stale-correction" in (row["problems"] or ())
    return [
        {
            "direction": each["direction"],
            "method": each["method"],
            "rule": each["rule"],
            "path": each["evidence_path"],
            "record": each["evidence_record"],
            "part": each["evidence_part"],
            "recorded": _recorded(each),
            "used": not stale,
        }
        for each in place.corrections.get(row["call_id"], ())
    ]


def _recorded(proof: Row) -> Row:
    """The counts of the direction as they were when the correction was proved."""
    counts = proof["recorded"].split("/")
    return {
        name: None if count == "-" else int(count)
        for name, count in zip(_DIRECTIONS[proof["direction"]], counts, strict=True)
    }


def _price(row: Row, rates: Rates) -> Row:
    """The entry of the price list and the rate that applied, with the way from the name to it."""
    names = ("provider", "model", "service_tier", "speed", "inference_geo")
    quote = rates.quote(Key(*(row[name] for name in names)), row["timestamp"])
    asked = {name: row[name] for name in names[2:] if row[name] is not None}
    return {
        "status": row["price_status"],
        "provider": row["price_provider"],
        "model": row["price_model"],
        "asked": asked,
        "path": list(quote.path),
        "assumed": bool(quote.layer and quote.layer.assumed),
        "rates": [_rate(rate, rates) for rate in _in_force(row, quote)],
    }


def _in_force(row: Row, quote: Quote) -> tuple[Rate, ...]:
    """The rate of the call's tier; several where nothing tells which of them it is."""
    whole = None if row["input_lower_bound"] else row["input_tokens"]
    prompt = next((n for n in (row["context_tokens"], whole) if n is not None), LATEST)
    return tier_of_prompt(quote.rates, prompt, is_exact=row["context_tokens"] is not None)


def _rate(rate: Rate, rates: Rates) -> Row:
    return {
        "above_tokens": rate.above,
        "variant": rate.variant,
        "valid_from": time_of(rate.valid_from),
        "valid_to": time_of(rate.valid_to),
        "basis": rate.basis,
        "source": source_of(rates, rate),
        "stated_by": rate.source or None,
        "reason": rate.reason or None,
    }


def _arithmetic(row: Row, worked: Row) -> list[Row]:
    """Each count that is priced times its rate, in the order of PRICED_COUNTS, media behind it."""
    found = []
    for tokens, rate in PRICED_COUNTS:
        media = [name for name in _MEDIA_IN.get(tokens, ()) if worked[billed(name)]]
        left = sum(worked[billed(name)] for name in media)  # no longer billed as text
        for bucket, count in _counts(tokens, row, worked):
            text = max((count or 0) - left, 0)
            left -= (count or 0) - text
            if text:
                found.append(_line(bucket, text, worked[rate], rate))
        found += [
            _line(name, worked[billed(name)], worked[rate_of(name)], TOKEN_RATES[0])
            for name in media
        ]
    return found + [
        _line(name, worked[name], worked[fee_of(name)], name)
        for name in schema.TOOL_COUNTS
        if worked[name]
    ]


def _line(bucket: str, count: int, rate: int | None, name: str) -> Row:
    return {
        "bucket": bucket,
        "count": count,
        "usd_per_unit": usd(rate, name),
        "unit": "million tokens" if name in TOKEN_RATES else "thousand",
        "cost_usd": None if rate is None else money(count * rate),
    }


def _counts(tokens: str, row: Row, worked: Row) -> list[tuple[str, int | None]]:
    if tokens == _TOGETHER:
        return [(name, row[name]) for name in _APART]
    return [(_BUCKET_OF.get(tokens, tokens), worked[tokens])]
