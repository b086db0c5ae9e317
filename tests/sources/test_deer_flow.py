"""The DeerFlow reader: behaviour by behaviour, and any value in any place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.derive.chain import derive
from tallybook.sources import FileFacts
from tallybook.sources.deer_flow import SOURCE, checkpoints
from tallybook.sources.deer_flow.checkpoints import messages, stamped, unpack
from tallybook.sources.deer_flow.events import (
    ANSWERS,
    TASK_END,
    TOOL_RESULT,
    Answer,
    Content,
    Extra,
)
from tallybook.sources.deer_flow.runs import Run, divide
from tallybook.sources.sqlite_rows import tables_of
from tallybook.tables import READ, table
from tests.examples import tries

Row = dict[str, Any]
EVENT = ("thread_id", "run_id", "event_type", "content", "event_metadata", "created_at")


def query(tables: Mapping[str, tuple[Iterable[str], Iterable[Iterable[Any]]]]) -> pa.Table:
    """The rows of a database with these columns and values."""
    with closing(sqlite3.connect(":memory:")) as database:
        for name, (columns, rows) in tables.items():
            fields = list(columns)
            database.execute(f"CREATE TABLE {name} ({', '.join(fields)})")
            places = ", ".join("?" * len(fields))
            statement = f"INSERT INTO {name} VALUES ({places})"  # noqa: S608 - names of this test
            database.executemany(statement, map(tuple, rows))
        assert SOURCE.query is not None
        return table([row for rows in SOURCE.query(database, FileFacts()) for row in rows])


def lines(*rows: Any) -> pa.Table:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    found, state = SOURCE.read(text.encode("utf-8", "surrogatepass"), SOURCE.begin(FileFacts()))
    return table([*found, *SOURCE.finish(state)])


def derived(rows: pa.Table) -> pl.DataFrame:
    count = rows.num_rows
    named = [pa.repeat(value, count) for value in ("deer-flow", "a.db")]
    return derive(pa.Table.from_arrays([*named, *rows.columns], schema=READ), None)


def usage(inputs: int, output: int, **details: int) -> Row:
    counts = {"input_tokens": inputs, "output_tokens": output, "total_tokens": inputs + output}
    return counts | ({"input_token_details": details} if details else {})


def answer(identifier: str | None, stated: Any, **more: Any) -> Row:
    """An event with the answer of a model."""
    content = {
        "id": identifier,
        "response_metadata": more.pop("response_metadata", {"model_name": "m-1"}),
        "usage_metadata": stated,
    }
    return {
        "thread_id": "t-1",
        "run_id": "r-1",
        "event_type": "llm.ai.response",
        "content": content,
        "metadata": {"caller": "lead_agent", "usage": stated or {}, "llm_call_index": 1},
        "created_at": "2026-08-20T12:00:00+00:00",
    } | more


def names(kind: Any) -> tuple[str, ...]:
    """The fields of a struct or a named tuple."""
    found = getattr(kind, "__struct_fields__", None) or kind._fields
    return tuple(found)


def only(rows: pa.Table) -> Row:
    (row,) = rows.to_pylist()
    return dict(row)


@pytest.mark.parametrize(
    ("stated", "caller"),
    [
        ("lead_agent", None),
        (None, None),
        ("middleware:title", "title"),
        ("middleware", "middleware"),
        ("subagent:general-purpose", "subagent"),
        ("planner", "planner"),
        (["x"], None),
    ],
)
def test_the_caller_is_the_group_or_the_middleware(stated: Any, caller: str | None) -> None:
    row = answer("lc_run--1", usage(10, 1), metadata={"caller": stated, "usage": usage(10, 1)})
    assert only(lines(row))["caller"] == caller


@pytest.mark.parametrize(
    ("stated", "model", "provider"),
    [
        ("openai", "gpt-5.1", "openai"),
        ("openai", "deepseek-v3.2", None),
        ("openai", None, None),
        ("google_genai", "gemini-3-pro", "google"),
        ("anthropic", "claude-sonnet-4-6", "anthropic"),
        (7, "gpt-5.1", None),
    ],
)
def test_openai_is_believed_of_its_own_models_only(
    stated: Any, model: str | None, provider: str | None
) -> None:
    said = {"model_name": model, "model_provider": stated}
    assert only(lines(answer("x", usage(1, 1), response_metadata=said)))["provider"] == provider


@pytest.mark.parametrize(
    "stated",
    [
        "2026-08-20 12:00:00.000000",
        "2026-08-20 12:00:00",
        "2026-08-20T12:00:00Z",
        "2026-08-20T14:00:00.000+02:00",
        " 2026-08-20t12:00 ",
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(stated: str) -> None:
    row = only(lines(answer("x", usage(1, 1), created_at=stated)))
    assert row["timestamp"] == datetime(2026, 8, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("stated", [None, "", "soon", 7, "2026-08-20 12:00:00 of sorts"])
def test_what_is_no_time_is_left_out(stated: Any) -> None:
    assert only(lines(answer("x", usage(1, 1), created_at=stated)))["timestamp"] is None


RUN = "019d7000-0001-7000-8000-000000000001"


@pytest.mark.parametrize("prefix", ["lc_run--", "run--", "run-"])
@pytest.mark.parametrize("suffix", ["", "-0", "-12"])
def test_the_generations_of_one_call_have_one_identity(prefix: str, suffix: str) -> None:
    row = only(lines(answer(f"{prefix}{RUN}{suffix}", usage(10, 1))))
    assert row["identity"] == f"call:{RUN}"
    assert row["response_id"] is None


def test_an_id_of_the_provider_is_kept_and_a_short_one_says_something_in_its_run_only() -> None:
    random = only(lines(answer("resp_0123456789abcdef0123", usage(10, 1))))
    short = only(lines(answer("chatcmpl-1", usage(10, 1))))
    assert random["identity"] == random["response_id"] == "resp_0123456789abcdef0123"
    assert (short["identity"], short["response_id"]) == ("r-1:chatcmpl-1", "chatcmpl-1")


def test_an_answer_without_id_is_known_by_its_number_and_counts() -> None:
    again = answer(None, usage(10, 1))
    other = answer(None, usage(11, 1))
    rows = derived(lines(again, again, other))
    assert rows["duplicate_reason"].to_list() == ["same-response", None, None]


def test_what_the_program_took_from_the_message_goes_before_what_the_provider_stated() -> None:
    raw = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    said = {"model_name": "m-1", "token_usage": raw}
    fallback = lines(answer("x", None, response_metadata=said))
    both = lines(answer("x", usage(12, 1), response_metadata=said))
    assert only(fallback)["reported_input_tokens"] == 10
    assert only(both)["reported_input_tokens"] == 12


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4}}, 2),
        ({"completion_tokens_details": {"reasoning_tokens": 1}}, 2),
        ({}, 1),
    ],
)
def test_the_providers_object_is_kept_where_it_states_what_was_lost(raw: Row, parts: int) -> None:
    counts = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    said = {"id": "chatcmpl-0123456789abcdef0123", "model": "m-1", "token_usage": counts | raw}
    found = lines(answer(f"lc_run--{RUN}", usage(10, 1), response_metadata=said)).to_pylist()
    assert [row["kind"] for row in found] == ["call", "response"][:parts]
    assert {row["response_id"] for row in found} == {"chatcmpl-0123456789abcdef0123"}
    assert {row["record_id"] for row in found} == {f"lc_run--{RUN}"}
    assert {row["identity"] for row in found} == {f"call:{RUN}"}


def end(run: str, task: str) -> Row:
    """The end of a delegated task."""
    content = {"task_id": task, "status": "completed", "usage": usage(4_439_523, 4_543)}
    return {
        "thread_id": "t-1",
        "run_id": run,
        "event_type": "subagent.end",
        "content": content,
        "metadata": {},
        "created_at": "2026-08-20T12:00:00+00:00",
    }


def test_no_prompt_is_empty() -> None:
    """LangChain has 0 for what the last event of a stream did not state again."""
    row = only(lines(answer(f"lc_run--{RUN}", usage(0, 17))))
    assert (row["reported_input_tokens"], row["reported_output_tokens"]) == (None, 17)
    row = only(lines(answer(f"lc_run--{RUN}", usage(0, 0))))
    assert (row["reported_input_tokens"], row["reported_output_tokens"]) == (0, 0)


def test_a_message_of_the_program_s_own_is_no_answer() -> None:
    own: Row = {"type": "ai", "id": "own", "usage_metadata": None, "response_metadata": {}}
    said = own | {"id": "said", "response_metadata": {"model_name": "m-1"}}
    pack = msgspec.msgpack.encode
    written = [
        ("t", f"c-{number}", "messages", "msgpack", pack(message))
        for number, message in enumerate((own, said))
    ]
    places = [("t", "c-0", b"", b"deerflow")]
    found = query({"checkpoints": (PLACES, places), "writes": (WRITTEN, written)})
    assert [(row["record"], row["problems"]) for row in found.to_pylist()] == [(2, ["no-counts"])]


def test_the_id_of_a_tool_call_may_come_again_in_another_run() -> None:
    rows = derived(lines(end("r-1", "call_1"), end("r-2", "call_1"), end("r-2", "call_1")))
    assert rows["duplicate_of"].is_null().to_list() == [True, False, True]
    assert rows["input_tokens"].to_list() == [4_439_523] * 3


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), max_size=4),
    st.dictionaries(st.sampled_from(["lead", "subagent", "middleware"]), st.integers(1, 30)),
)
def test_models_that_are_given_to_one_caller_add_up_to_its_total(
    models: dict[str, int], callers: dict[str, int]
) -> None:
    owners = divide(models, callers)
    assert owners.keys() == models.keys()
    spent = {
        owner: sum(tokens for model, tokens in models.items() if owners[model] == owner)
        for owner in set(owners.values())
    }
    doubtful = spent.pop("unknown", 0)
    if len(spent) + bool(doubtful) > 1:
        for owner, total in spent.items():
            names = ["lead"] if owner is None else owner.split("+")
            wanted = sum(callers[name] for name in names)
            assert total <= wanted <= total + doubtful


@pytest.mark.parametrize(
    ("models", "callers", "owners"),
    [
        # Either of two models with equal totals may be the lead's: nobody shares one.
        (
            {"a": 500, "b": 500, "c": 70},
            {"lead": 500, "subagent": 500, "middleware": 70},
            {"a": "unknown", "b": "unknown", "c": "middleware"},
        ),
        (
            {"a": 500, "b": 300, "c": 70},
            {"lead": 500, "subagent": 300, "middleware": 70},
            {"a": None, "b": "subagent", "c": "middleware"},
        ),
        # One model for both: they do share it.
        ({"a": 800, "c": 70}, {"lead": 500, "subagent": 300, "middleware": 70},
         {"a": "lead+subagent", "c": "middleware"}),
    ],
)  # fmt: skip
def test_a_model_is_of_a_caller_where_no_other_way_adds_up(
    models: dict[str, int], callers: dict[str, int], owners: dict[str, str | None]
) -> None:
    assert divide(models, callers) == owners


def test_the_time_of_a_checkpoint_is_found_without_decoding_it() -> None:
    state = {"v": 4, "ts": "2026-08-20T12:00:02.400000+00:00", "channel_values": {"x": "y" * 999}}
    assert stamped(msgspec.msgpack.encode(state)[:64]) == state["ts"]
    assert stamped(b"") is None


def test_objects_in_msgpack_are_the_mappings_they_would_be_built_from() -> None:
    pack, ext = msgspec.msgpack.encode, msgspec.msgpack.Ext
    message = ext(5, pack(["langchain_core.messages.ai", "AIMessage", {"type": "ai", "id": "x"}]))
    assert list(messages(unpack(pack([message, 7])))) == [{"type": "ai", "id": "x"}]
    assert unpack(pack(ext(7, pack({"a": 1})))) == {"a": 1}
    assert unpack(pack(ext(6, b"numpy"))) is None


@given(st.binary(max_size=40))
def test_damaged_msgpack_is_a_value_error_at_most(value: bytes) -> None:
    with suppress(ValueError):
        unpack(value)


KINDS = (*ANSWERS, TASK_END, TOOL_RESULT, "subagent.start", "run.start")
FIELDS = [name for part in (Content, Answer, Extra, Run) for name in names(part)]
WORDS = st.sampled_from(
    [*FIELDS, *EVENT, *KINDS, *usage(1, 1, cache_read=1), "cache_read", "cache_read_tokens"]
) | st.sampled_from(["type", "ai", "tool", "messages", "msgpack", "t-1", "r-1", "run", "m-1"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.integers(0, 3_000)
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=8)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=12,
)


def mostly(likely: Any, other: Any) -> Any:
    """Nine times in ten what a log would have."""
    return st.integers(0, 9).flatmap(lambda die: likely if die else other)


COUNTS = mostly(st.integers(0, 3_000), DOCUMENTS)
USAGES = mostly(
    st.fixed_dictionaries(
        dict.fromkeys(usage(1, 1), COUNTS),
        optional={"input_token_details": st.dictionaries(WORDS, COUNTS, max_size=3)},
    ),
    DOCUMENTS,
)
ANSWER = st.fixed_dictionaries(
    {},
    optional={"model_name": WORDS, "model_provider": WORDS, "token_usage": USAGES, "usage": USAGES},
)
EXTRA = st.fixed_dictionaries(
    {"subagent_token_usage": USAGES},
    optional={"subagent_model_name": WORDS, "subagent_token_usage_attributed": st.booleans()},
)
TASKS = st.sampled_from(["call_1", "call_2"])
MESSAGES = st.fixed_dictionaries(
    {
        "type": mostly(st.sampled_from(["ai", "tool", "human"]), DOCUMENTS),
        "id": mostly(st.sampled_from([f"lc_run--{RUN}", f"run--{RUN[:-1]}2-1", "x"]), DOCUMENTS),
        "usage_metadata": USAGES,
        "response_metadata": mostly(ANSWER, DOCUMENTS),
        "additional_kwargs": mostly(EXTRA, DOCUMENTS),
        "tool_calls": mostly(st.lists(st.fixed_dictionaries({"id": TASKS})), DOCUMENTS),
        "tool_call_id": mostly(TASKS, DOCUMENTS),
        "task_id": mostly(TASKS, DOCUMENTS),
        "usage": USAGES,
    }
)
METADATA = st.fixed_dictionaries(
    {"caller": st.sampled_from(["lead_agent", "subagent:x", "middleware:title"])},
    optional={"usage": USAGES, "llm_call_index": COUNTS, "branch_seed": LEAVES},
)
TEXT = st.sampled_from(["r-1", "r-2", "t-1", "t-1"])
TIMES = st.sampled_from(["2026-08-20 12:00:00.5", "0001-01-01T00:00:00+14:00", "9999-12-31"])
PLAIN = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=8)
    | WORDS
    | DOCUMENTS.map(json.dumps)
)


def packed(values: Any) -> bytes:
    """The messages as LangGraph stores them, their numbers cut to what msgpack can hold."""
    parts = []
    for value in values:
        plain = json.loads(json.dumps(value), parse_int=lambda digits: int(digits.strip("-")[-15:]))
        part = ["langchain_core.messages.ai", "AIMessage", plain, "model_validate_json"]
        parts.append(msgspec.msgpack.Ext(5, msgspec.msgpack.encode(part)))
    return msgspec.msgpack.encode(parts)


def rows_of(columns: Iterable[str], likely: Mapping[str, st.SearchStrategy[Any]]) -> Any:
    """Rows with likely values, and any value in any column."""
    cells = [mostly(likely.get(column, TEXT), PLAIN) for column in columns]
    return st.tuples(st.just(tuple(columns)), st.lists(st.tuples(*cells), max_size=4))


COLUMN = {
    "thread_id": st.just("t-1"),
    "event_type": st.sampled_from(KINDS),
    "content": MESSAGES.map(json.dumps),
    "event_metadata": METADATA.map(json.dumps),
    "created_at": TIMES,
    "operation_kind": st.none(),
    "token_usage_by_model": st.dictionaries(WORDS, USAGES, max_size=3).map(json.dumps),
    "channel": st.just("messages"),
    "type": st.just("msgpack"),
    "value": st.lists(MESSAGES, max_size=3).map(packed),
    "checkpoint_id": st.just("1ef9414c-232a-6b00-b3c8-9f6bdeced846") | TEXT,
}
NUMBERED = {
    name: st.integers(0, 3_000) for name in Run._fields if name.endswith(("tokens", "count"))
}
TABLES = st.fixed_dictionaries(
    {
        "runs": rows_of(Run._fields, COLUMN | NUMBERED),
        "run_events": rows_of(EVENT, COLUMN),
        "writes": rows_of(("thread_id", "checkpoint_id", "channel", "type", "value"), COLUMN),
        "checkpoints": rows_of(("thread_id", "checkpoint_id", "checkpoint", "metadata"), COLUMN),
    }
)


@tries(30)
@given(TABLES)
def test_no_value_in_any_column_raises_and_each_run_has_a_row(tables: Any) -> None:
    found = query(tables)
    of_runs = {row["record"] for row in found.to_pylist() if row["part"].startswith("runs")}
    kinds = [Run(*row).operation_kind for row in tables["runs"][1]]
    assert {n for n, kind in enumerate(kinds, 1) if kind in (None, "run")} <= of_runs


@tries(10)
@given(TABLES)
def test_whatever_was_read_is_settled_without_a_row_too_many_or_too_few(tables: Any) -> None:
    found = query(tables)
    assert derived(found)["record"].sort().to_list() == sorted(found["record"].to_pylist())


EVENTS = st.fixed_dictionaries(
    {
        "event_type": mostly(st.sampled_from(KINDS), DOCUMENTS),
        "content": mostly(MESSAGES, DOCUMENTS),
        "metadata": mostly(METADATA, DOCUMENTS),
        "thread_id": mostly(st.just("t-1"), DOCUMENTS),
        "run_id": mostly(TEXT, DOCUMENTS),
        "created_at": mostly(TIMES, DOCUMENTS),
    }
)


@tries(30)
@given(st.lists(mostly(EVENTS, DOCUMENTS | st.text(max_size=20)), max_size=5))
def test_no_line_raises(rows: list[Any]) -> None:
    kinds = set(lines(*rows)["kind"].to_pylist())
    assert kinds <= {"call", "sum", "event", "response", "problem"}


PLACES = ("thread_id", "checkpoint_id", "checkpoint", "metadata")
WRITTEN = ("thread_id", "checkpoint_id", "channel", "type", "value")
# Ids of other types than the program writes, which SQLite keeps all the same.
WRITES = [
    (None, None, "messages", 5, 5),
    (1, 2, "messages", "msgpack", b"\x90"),
    (1.5, b"\xff", "messages", "json", b"\x90"),
]


@pytest.mark.parametrize("metadata", [5, -1, 2**62, 9e99, None, "", "other", b"\xff"])
def test_metadata_of_any_type_are_another_program_s(metadata: object) -> None:
    places = [("t", "c", b"", metadata)]
    found = query({"checkpoints": (PLACES, places), "writes": (WRITTEN, WRITES)})
    assert found["problems"].to_pylist() == [["unclaimed"]]


def test_a_write_that_is_gone_when_it_is_read_is_a_problem_of_its_own() -> None:
    facts = FileFacts(parts=("deer-flow", "checkpoints.db"))
    with closing(sqlite3.connect(":memory:")) as base:
        base.text_factory = bytes
        base.execute(f"CREATE TABLE checkpoints ({', '.join(PLACES)})")
        base.execute(f"CREATE TABLE writes ({', '.join(WRITTEN)})")
        base.executemany("INSERT INTO writes VALUES (?, ?, ?, ?, ?)", WRITES)
        read = checkpoints.read(base, tables_of(base), facts, is_alone=True)
        first = next(read)
        base.execute("DELETE FROM writes")
        gone = list(read)
    said = "messages of a write: "
    assert (first.record, first.detail) == (1, f"{said}type None")
    assert [(row.record, row.detail) for row in gone] == [
        (2, f"{said}the row is gone"),
        (3, f"{said}the row is gone"),
    ]
