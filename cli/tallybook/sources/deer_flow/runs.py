"""Makes rows of the table `runs`: what the program added up over the calls of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from tallybook.dialects.usage import read_usage
from tallybook.schema import ASSERTION, EVENT, SUM, Reported
from tallybook.sources.deer_flow.events import HINT, put_counts
from tallybook.sources.deer_flow.sniff import RUNS
from tallybook.sources.deer_flow.values import instant, text
from tallybook.values import count, decode

LEAD: Final = "lead"
UNKNOWN: Final = "unknown"  # the log has no word for it, which is not to say that it was the lead
_MOST_MODELS: Final = 7  # past this the ways to divide them are too many to prove anything

# Every way to group the three callers, the finest first.
_GROUPINGS: Final = (
    (("lead",), ("subagent",), ("middleware",)),
    (("lead",), ("middleware", "subagent")),
    (("subagent",), ("lead", "middleware")),
    (("middleware",), ("lead", "subagent")),
)


def label(callers: Sequence[str]) -> str | None:
    """The caller column of a sum that several callers share; the lead alone is None."""
    names = sorted(callers)
    return None if names == [LEAD] else "+".join(names) or UNKNOWN


def divide(models: Mapping[str, int], callers: Mapping[str, int]) -> dict[str, str | None]:
    """The caller of each model's tokens; both mappings hold totals of the same tokens.

    Where a way to divide the models among the callers gives each caller its total, that is how it
    was, and of a model that several such ways give to different callers nobody can tell. Where
    there is none, callers share a label until there is one.
    """
    present = [name for name, tokens in callers.items() if tokens]
    shared: dict[str, str | None] = dict.fromkeys(models, label(present))
    if len(present) < 2 or not 1 < len(models) <= _MOST_MODELS:
        return shared
    for grouping in _GROUPINGS:
        groups = [kept for group in grouping if (kept := [n for n in group if n in present])]
        if len(groups) < 2:
            continue
        ways = list(_ways(list(models.values()), [sum(callers[n] for n in g) for g in groups]))
        if ways:
            owners = (set(places) for places in zip(*ways, strict=True))
            return {
                model: label(groups[places.pop()]) if len(places) == 1 else UNKNOWN
                for model, places in zip(models, owners, strict=True)
            }
    return shared


def _ways(tokens: Sequence[int], wanted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """For each division that fits, the group of each model."""
    for way in product(range(len(wanted)), repeat=len(tokens)):
        sums = [0] * len(wanted)
        for group, amount in zip(way, tokens, strict=True):
            sums[group] += amount
        if sums == list(wanted):
            yield way


_BY_MODEL: Final = "token_usage_by_model"
_NO_MODEL: Final = "unknown"  # the program's key for calls whose answer names no model
_NO_CALL_YET: Final = "pending"
_ENDED: Final = (None, "success", "timeout")  # of others the last sums may not have been written


class Run(NamedTuple):
    """The columns of `runs` that are read, as they are stored; a column that is missing is None."""

    run_id: Any = None
    thread_id: Any = None
    status: Any = None
    operation_kind: Any = None
    model_name: Any = None
    total_input_tokens: Any = None
    total_output_tokens: Any = None
    total_tokens: Any = None
    llm_call_count: Any = None
    lead_agent_tokens: Any = None
    subagent_tokens: Any = None
    middleware_tokens: Any = None
    token_usage_by_model: Any = None
    created_at: Any = None


def read_run(run: Run, record: int) -> Iterator[Reported]:
    """A sum per model, or one for the run where it keeps none per model, and what callers used.

    Rows that are no run but hold a lock for another operation give nothing.
    """
    if text(run.operation_kind) not in (None, "run"):
        return
    problems: list[str] = []
    callers = _callers(run, problems)
    models = _models(run, problems)
    rows = list(_by_model(run, record, models, callers)) if models else []
    rows = rows or [_total(run, record, callers)]
    rows[0].problems = [*(rows[0].problems or []), *problems] or None
    yield from rows
    for caller in ("subagent", "middleware"):
        if callers.get(caller):
            yield _asserted(run, record, caller, callers[caller])


def _row(run: Run, record: int, part: str) -> Reported:
    thread, identifier = text(run.thread_id), text(run.run_id)
    return Reported(
        record=record,
        part=part,
        kind=SUM,
        calls=None,
        thread_id=thread,
        root_thread_id=thread,
        timestamp=instant(run.created_at),
        series=identifier,
        # While a run goes on its row is a snapshot; where the program was killed it stays one.
        finished=None if text(run.status) in _ENDED else False,
    )


def _total(run: Run, record: int, callers: Mapping[str, int]) -> Reported:
    """The run as one sum; its model is the one that was asked for, which is the lead's."""
    row = _row(run, record, RUNS)
    row.identity = f"run:{row.series}" if row.series else None
    row.model = text(run.model_name)
    stated = _usage(run.total_input_tokens, run.total_output_tokens, run.total_tokens)
    if not _any_tokens(stated):
        status = text(run.status) or "unknown"
        row.detail = f"run {status} without token counts"
        if status == _NO_CALL_YET:
            row.kind, row.rule = EVENT, "not-started"
        else:
            row.rule, row.problems = "run-total", ["no-counts"]
        return row
    _state_usage(row, stated, "run-total")
    row.caller = label([name for name, tokens in callers.items() if tokens])
    if row.model is not None and row.caller is not None:
        row.problems = [*(row.problems or []), "assumed-model"]
    return _with_calls(row, run, callers, is_only=True)


def _by_model(
    run: Run, record: int, models: Mapping[str, Mapping[str, Any]], callers: Mapping[str, int]
) -> Iterator[Reported]:
    """The models as the providers name them; what the run has beyond them has no model."""
    rows = []
    for model, stated in models.items():
        row = _row(run, record, f"{RUNS}.{_BY_MODEL}[{model}]")
        row.identity = f"run:{row.series}:{model}" if row.series else None
        row.model = None if model == _NO_MODEL else model
        _state_usage(row, stated, "run-by-model")
        rows.append(row)
    tokens = {row.part or "": _tokens(row) for row in rows}
    owners = divide(tokens, callers)
    for row in rows:
        row.caller = owners[row.part or ""] if callers else UNKNOWN
        yield _with_calls(row, run, callers, is_only=len(rows) == 1)
    rest = _beyond(run, record, rows)
    if rest is not None:
        yield rest


def _beyond(run: Run, record: int, rows: list[Reported]) -> Reported | None:
    """What the run's totals state beyond its models."""
    row = _row(run, record, f"{RUNS}.total_tokens")
    stated = _usage(run.total_input_tokens, run.total_output_tokens, run.total_tokens)
    _state_usage(row, stated, "run-total")
    inputs, outputs = row.reported_input_tokens, row.reported_output_tokens
    if inputs is None or outputs is None:
        return None
    inputs -= sum(each.reported_input_tokens or 0 for each in rows)
    outputs -= sum(each.reported_output_tokens or 0 for each in rows)
    if not inputs and not outputs:
        return None
    rows[0].problems = [*(rows[0].problems or []), "total-mismatch"]
    rows[0].detail = f"models add up to {-inputs:+} input, {-outputs:+} output beside the totals"
    if inputs < 0 or outputs < 0:
        return None
    row.identity = f"run:{row.series}:rest" if row.series else None
    row.reported_input_tokens, row.reported_output_tokens = inputs, outputs
    row.reported_total_tokens, row.difference = inputs + outputs, True
    row.caller, row.problems = UNKNOWN, ["uncounted-calls"]
    return row


def _state_usage(row: Reported, stated: Mapping[str, Any], rule: str) -> None:
    put_counts(row, read_usage(stated, HINT))
    row.rule = rule


def _with_calls(row: Reported, run: Run, callers: Mapping[str, int], *, is_only: bool) -> Reported:
    """The number of calls, where the row holds all that were counted and no others.

    The program's count leaves out the calls of sub-agents from the time on that it tells callers
    apart.
    """
    stated = _number(run.llm_call_count, [])
    if is_only and stated and not callers.get("subagent"):
        row.calls = stated
    elif _tokens(row):
        row.problems = [*(row.problems or []), "uncounted-calls"]
    return row


def _asserted(run: Run, record: int, caller: str, tokens: int) -> Reported:
    row = _row(run, record, f"{RUNS}.{caller}_tokens")
    row.kind, row.caller, row.rule = ASSERTION, caller, "run-caller"
    row.reported_total_tokens = tokens
    return row


def _callers(run: Run, problems: list[str]) -> dict[str, int]:
    """The totals by caller that are above zero; in the time when none were kept, nothing."""
    stated = {
        LEAD: _number(run.lead_agent_tokens, problems),
        "subagent": _number(run.subagent_tokens, problems),
        "middleware": _number(run.middleware_tokens, problems),
    }
    return {name: tokens for name, tokens in stated.items() if tokens}


def _models(run: Run, problems: list[str]) -> dict[str, Mapping[str, Any]]:
    """Usage by model in LangChain's words, without the models that have none."""
    stored = run.token_usage_by_model
    if stored is None or stored in (b"", b"null"):
        return {}
    value = decode(stored) if isinstance(stored, bytes) else stored
    if not isinstance(value, dict):
        problems.append("bad-value")
        return {}
    found = {}
    for model, bucket in value.items():
        if isinstance(bucket, dict):
            found[str(model)] = _in_langchain_words(bucket)
        else:
            problems.append("bad-value")
    return {model: usage for model, usage in found.items() if _any_tokens(usage)}


def _in_langchain_words(bucket: Mapping[str, Any]) -> dict[str, Any]:
    counts = (bucket.get(name) for name in ("input_tokens", "output_tokens", "total_tokens"))
    cached = bucket.get("cache_read_tokens")
    details = {} if cached is None else {"input_token_details": {"cache_read": cached}}
    return {**_usage(*counts), **details}


def _usage(inputs: Any, outputs: Any, total: Any) -> dict[str, Any]:
    """Counts in LangChain's words; a text is told from a stored byte string."""
    stated = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": total}
    return {name: _plain(value) for name, value in stated.items() if value is not None}


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _any_tokens(usage: Mapping[str, Any]) -> bool:
    """Whether anything but zero is stated; zeros are what the program begins with."""
    return any(value not in (0, 0.0, "0", None) for value in usage.values())


def _number(value: Any, problems: list[str]) -> int | None:
    return count(_plain(value), problems)


def _tokens(row: Reported) -> int:
    stated = row.reported_total_tokens
    parts = (row.reported_input_tokens or 0) + (row.reported_output_tokens or 0)
    return parts if stated is None else stated
