"""An explanation, a few lines a call and what they add up to; also as CSV and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallybook.render import formats
from tallybook.render.cells import UNKNOWN, at_least
from tallybook.render.table import BOLD, DIM, PLAIN, Column
from tallybook.render.text import display_width, keep_ends, visible, wrapped
from tallybook.report.codes import REASONS
from tallybook.values import names_in
from tallybook.wording import counted

Row = Mapping[str, Any]

_LABEL: Final = 11  # cells of the words in front of a line of a call
_GAP: Final = "  "
_ORIGIN: Final = 4  # column of a bucket's origin
_LEAST: Final = 20  # cells of a line behind them, however narrow the terminal
_NAMES: Final = {
    "uncached_input_tokens": "uncached",
    "unsplit_input_tokens": "unsplit",
    "cached_input_tokens": "cached",
    "cache_creation_input_tokens": "cache write",
    "cache_creation_5m_input_tokens": "write 5m",
    "cache_creation_1h_input_tokens": "write 1h",
    "output_tokens": "output",
    "reasoning_output_tokens": "reasoning",
    "web_search_requests": "searches",
    "code_execution_calls": "code runs",
    "file_search_calls": "file search",
    "search_queries": "queries",
    "x_search_calls": "X searches",
    "x_posts_fetched": "X posts",
    "x_users_fetched": "X users",
    "low_context_requests": "low context",
    "medium_context_requests": "mid context",
    "high_context_requests": "high context",
    "audio_input_tokens": "audio",
    "cached_audio_input_tokens": "audio cached",
    "image_input_tokens": "image",
    "cached_image_input_tokens": "image cached",
    "audio_output_tokens": "audio out",
    "image_output_tokens": "image out",
}
# Bucket whose origin a priced count has: writes are priced by lifetime, and known as one bucket.
_ORIGIN_OF: Final = {"cache_creation_5m_input_tokens": "cache_creation_input_tokens"}
# What a request says that is served as most are; it decides nothing.
_USUAL: Final = frozenset({"standard", "default", "auto", "on_demand", "global", "not_available"})
_EXAMPLES: Final = 3  # records of a call, or of a reason, that are named on a page

# Fields of a line of CSV: of the call, and of one priced count of it.
_FIELDS: Final = (
    *names_in(
        "call_id source provider model thread_id caller project timestamp path record part kind"
        " bucket count unit usd_per_unit cost_usd origin how dialect rule price_status"
        " price_provider price_model price_source reason duplicate_of"
    ),
    formats.PRICE_DIGEST,
)


def page(answer: Row, width: int | None, *, colour: bool) -> Iterator[str]:
    """The title, the calls, what else there is, and the total."""
    bold, dim = (BOLD, DIM) if colour else ("", "")
    for text in wrapped(title(answer), width):
        yield _styled(text, bold)
    yield "\n"
    for row in answer["rows"]:
        head, *lines = _call_lines(row, width)
        yield _styled(head, bold)
        # Where a record stands is no more than a reference.
        quiet = f"  {'record':<{_LABEL}}"
        yield from (_styled(line, dim if line.startswith(quiet) else "") for line in lines)
        yield "\n"
    for line in _end_lines(answer):
        yield from (_styled(text, "") for text in wrapped(line, width))


def title(answer: Row) -> str:
    """What is explained: the cell, the thread or the call, with its sums."""
    query = answer["query"]
    parts = [f"{key} {value or UNKNOWN}" for key, value in query["cell"].items()]
    parts += [f"{name} {query[name]}" for name in ("thread", "call") if query[name]]
    parts += [f"{name} {' or '.join(values)}" for name, values in query["filters"].items()]
    days = [f"from {query['since']}"] if query["since"] else []
    days += [f"until {query['until']}"] if query["until"] else []
    return visible(" · ".join([*(parts or ["total"]), *days, _sums(answer["totals"])]))


def _call_lines(row: Row, width: int | None) -> Iterator[str]:
    """The lines of one call."""
    yield _call_head(row)
    for label, texts in _told(row):
        front = f"  {label:<{_LABEL}}"
        for text in texts:
            for line in _fitting(visible(text), width and max(width - len(front), _LEAST)):
                yield f"{front}{line}".rstrip()
                front = " " * len(front)


def _call_head(row: Row) -> str:
    """A call in one line: its cost, time, model and caller."""
    when = (row["timestamp"] or "without a time").replace("T", " ").partition(".")[0]
    head = [_money(row["cost_usd"]), when.removesuffix("Z"), row["model"] or "(unknown model)"]
    head += [row["caller"] or "", row["kind"] if row["kind"] != "call" else ""]
    return visible(_GAP.join(part for part in head if part))


def _fitting(text: str, room: int | None) -> list[str]:
    """The text in lines that fit; of columns the last one goes below where it does not."""
    if room is None or display_width(text) <= room:
        return [text]
    columns, gap, last = text.rpartition(_GAP)
    if gap and columns and display_width(columns) <= room:
        return [columns.rstrip(), *wrapped(f"  {last.strip()}", room, 2)]
    return wrapped(text, room, 0)


def _told(row: Row) -> Iterator[tuple[str, Sequence[str]]]:
    """What is told of a call: a word in front, and the lines behind it."""
    yield "record", [place(row), f"{row['source']}, call {row['call_id']}"]
    yield "logged", _logged(row)
    yield "read as", [_reading(row)]
    yield "", _buckets(row)
    yield "price", [_price(row)]
    bounds = [row["cost_low_usd"], row["cost_high_usd"]]
    if row["cost_usd"] is not None and bounds != [row["cost_usd"]] * 2:
        yield "bounds", [f"{_money(bounds[0])} to {_money(bounds[1], 'no bound')}"]
    if row["reported_cost_usd"] is not None:
        yield "log's cost", [_money(row["reported_cost_usd"])]
    if row["problems"]:
        yield "problems", [", ".join(row["problems"]) + _behind(row["detail"])]
    yield "backfill", [_proof(each) for each in row["backfill"]]
    yield "left out", _left(row["left_out"])


def place(row: Row) -> str:
    """File and record, and the part of it."""
    part = f" {row['part']}" if row["part"] else ""
    return f"{row['path']}:{row['record']}{part}"


def _logged(row: Row) -> list[str]:
    """The usage objects as they stand in the log, else what the reader kept of them."""
    log = row["log"]
    found = [f"{each['at']} {_object(each['usage'])}".lstrip() for each in log["usage"]]
    if found:
        return found
    kept = {name.removeprefix("reported_"): count for name, count in row["reported"].items()}
    return [f"{log['words']}; as it was read: {_object(kept)}"]


def _object(usage: Row) -> str:
    return json.dumps(usage, default=str)


def _reading(row: Row) -> str:
    words = [f"dialect {row['dialect']}" if row["dialect"] else "no dialect"]
    words += [f"rule {row['rule']}"] if row["rule"] else []
    words += [f"{' and '.join(row['assumed'])} assumed"] if row["assumed"] else []
    unknown = [_NAMES.get(name, name) for name in row["unknown"]]
    words += [f"not stated: {', '.join(unknown)}"] if unknown else []
    words += ["a lower bound"] if row["lower_bound"] else []
    return "; ".join(words)


def _buckets(row: Row) -> list[str]:
    """A line a bucket, with its cells below each other."""
    cells = _bucket_cells(row)
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    return [
        _GAP.join(
            f"{cell:>{width}}" if 0 < number < _ORIGIN else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            if width
        ).rstrip()
        for line in cells
    ]


def _bucket_cells(row: Row) -> list[tuple[str, ...]]:
    """Of each bucket: its name, how many, the rate, the cost, how it is known."""
    known = {each["bucket"]: each for each in row["buckets"]}
    priced = {each["bucket"]: each for each in row["arithmetic"]}
    names = [*priced] or [name for name, each in known.items() if each["tokens"]]
    return [(*_cells(name, known, priced), _origin(name, known)) for name in names]


def _cells(name: str, known: Mapping[str, Row], priced: Mapping[str, Row]) -> tuple[str, ...]:
    title, cost = _NAMES.get(name, name.replace("_", " ")), priced.get(name)
    if cost is None:
        return title, f"{known[name]['tokens']:,}", "", ""
    rate = cost["usd_per_unit"]
    unit = "M" if cost["unit"] == "million tokens" else "1,000"
    times = "no rate" if rate is None else f"× ${rate}/{unit}"
    return title, f"{cost['count']:,}", times, _money(cost["cost_usd"], "")


def _origin(name: str, known: Mapping[str, Row]) -> str:
    bucket, reasoning = known.get(_ORIGIN_OF.get(name, name)), known.get("reasoning_output_tokens")
    words = [": ".join(filter(None, [bucket["origin"], bucket["how"]]))] if bucket else []
    if name == "output_tokens" and reasoning and reasoning["tokens"]:
        words.append(f"{reasoning['tokens']:,} of them reasoning")
    return ", ".join(words)


def _price(row: Row) -> str:
    price = row["price"]
    found = " or ".join(dict.fromkeys(_rate(each) for each in price["rates"]))
    asked = "".join(
        f", {name} {value}" for name, value in price["asked"].items() if value not in _USUAL
    )
    path = " → ".join(price["path"])
    status = price["status"].replace("_", " ")
    return f"{status}{f': {found}' if found else ''}{asked}; {path}"


def _rate(rate: Row) -> str:
    since = f" from {rate['valid_from']}" if rate["valid_from"] else ""
    until = f" to {rate['valid_to']}" if rate["valid_to"] else ""
    above = f", prompts over {rate['above_tokens']:,}" if rate["above_tokens"] else ""
    stated = f" ({rate['stated_by']})" if rate["stated_by"] else ""
    return f"{rate['variant']}{above}{since}{until} by {rate['source']}{stated}"


def _proof(proof: Row) -> str:
    before = [f"{_NAMES[n]} {count:,}" for n, count in proof["recorded"].items() if count]
    used = "" if proof["used"] else "; not used, for the call states other counts now"
    return (
        f"{proof['direction']} from the {proof['method']} at {place(proof)}, {proof['rule']}; "
        f"recorded: {', '.join(before) or 'nothing'}{used}"
    )


def _left(left: Sequence[Row]) -> list[str]:
    shown = [
        f"{place(each)}  {each['reason']}: {each['words']}{_behind(each['detail'])}"
        for each in left[:_EXAMPLES]
    ]
    more = len(left) - len(shown)
    return [*shown, *([f"and {more:,} more"] if more else [])]


def _end_lines(answer: Row) -> Iterator[str]:
    """What is not listed, what does not count, and the total."""
    rest, odd = answer["rest"], answer["not_counted"]
    if rest:
        many = counted(rest["records"], "more record")
        yield f"{many}: {counted(rest['total_tokens'], 'token')}, {_money(rest['cost_usd'])}"
    for reason, count in odd["reasons"].items():
        listed = [each for each in odd["rows"] if each["reason"] == reason][:_EXAMPLES]
        named = [
            place(each) + (_instead(each) if answer["query"]["call"] else "") for each in listed
        ]
        where = f": {', '.join(named)}{', …' if count > len(named) else ''}" if named else ""
        words = REASONS.get(reason, "")
        yield visible(f"not counted: {count:,} {reason}{f' ({words})' if words else ''}{where}")
    parts = [_sums(answer["totals"]), formats.priced_by(answer)]
    yield f"total: {' · '.join(part for part in parts if part)}"


def _instead(entry: Row) -> str:
    return f" in favour of {entry['duplicate_of']}" if entry["duplicate_of"] else ""


def _sums(totals: Row) -> str:
    least = at_least(totals["lower_bound"] or totals["unpriced_tokens"])
    calls, sums = totals["calls"] or 0, totals["records_without_calls"]
    parts = [counted(calls, "call")] if calls else []
    parts += [counted(sums, "sum of calls", "sums of calls")] if sums else []
    more = at_least(totals["lower_bound"])
    cost = totals["cost_usd"]
    parts = [
        *(parts or ["no calls"]),
        f"{more}{counted(totals['total_tokens'] or 0, 'token')}",
        "no cost" if cost is None else f"{least}{_money(cost)}",
    ]
    if totals["unpriced_tokens"]:
        parts.append(f"{counted(totals['unpriced_tokens'], 'token')} unpriced")
    return " · ".join(parts)


def _money(amount: str | None, none: str = "no cost") -> str:
    return none if amount is None else f"${amount}"


def _behind(words: str | None) -> str:
    return f" ({words})" if words else ""


def _styled(text: str, style: str) -> str:
    return f"{style}{text}{PLAIN if style else ''}\n"


def csv_of(answer: Row) -> Iterator[str]:
    """A line a priced count, and one a record that is left out, with the `reason`.

    The lines without a reason add up to the cell: `cost_usd` is empty where the cost of the whole
    call is unknown.
    """
    rows = formats.with_digest(answer, _rows(answer))
    return formats.csv_lines(_FIELDS, rows, ("usd_per_unit", "cost_usd"))


def _rows(answer: Row) -> Iterator[Row]:
    for row in answer["rows"]:
        price = row["price"]
        sources = dict.fromkeys(rate["source"] for rate in price["rates"])
        whole = {
            **row,
            "price_status": price["status"],
            "price_provider": price["provider"],
            "price_model": price["model"],
            "price_source": "; ".join(sources) or None,
        }
        yield from ({**whole, **part} for part in _parts(row))
        yield from ({"cost_usd": None, **each} for each in row["left_out"])
    yield from ({"cost_usd": None, **each} for each in answer["not_counted"]["rows"])


def _parts(row: Row) -> Iterator[Row]:
    known = {each["bucket"]: each for each in row["buckets"]}
    priced = {each["bucket"]: each for each in row["arithmetic"]}
    for name in priced or [name for name, each in known.items() if each["tokens"]] or [None]:
        bucket = known.get(_ORIGIN_OF.get(name, name), {})
        blank: dict[str, Any] = {"bucket": name, "count": bucket.get("tokens"), "cost_usd": None}
        blank |= {"origin": bucket.get("origin"), "how": bucket.get("how")}
        part = {**blank, **priced.get(name, {})}
        yield part if row["cost_usd"] is not None else part | {"cost_usd": None}


def markdown(answer: Row) -> Iterator[str]:
    """The page with headings, lists and a table a call."""
    yield f"## {formats.escaped(title(answer))}\n"
    for row in answer["rows"]:
        yield f"\n### {formats.escaped(_call_head(row))}\n\n"
        for label, texts in _told(row):
            if label:
                yield from (f"- {label}: {formats.escaped(text)}\n" for text in texts)
            elif cells := _bucket_cells(row):
                yield "\n"
                yield from formats.markdown_lines(_columns(cells))
                yield "\n"
    yield "\n"
    yield from (f"- {formats.escaped(line)}\n" for line in _end_lines(answer))


def _columns(cells: list[tuple[str, ...]]) -> list[Column]:
    cuts = {"": keep_ends, "Count": None, "Rate": None, "Cost": None, "How it is known": keep_ends}
    return [
        Column(heading, column, cut=cut)
        for (heading, cut), column in zip(cuts.items(), zip(*cells, strict=True), strict=True)
    ]
