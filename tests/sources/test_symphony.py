"""The parts of the Symphony reader that fixtures reach only in passing, behaviour by behaviour."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook.schema import SUM, Reported
from tallybook.sources import FileFacts
from tallybook.sources.symphony import SOURCE
from tallybook.sources.symphony import application_log as elixir
from tallybook.sources.symphony.mnesia import Cursor, Opaque, TermError, items, opened
from tallybook.sources.symphony.runs import dispatch, moment
from tallybook.sources.symphony.tokens import (
    CLAUDE,
    CODEX,
    Agent,
    agent_of,
    put_codex,
    put_tokens,
    read_tokens,
    session,
)
from tests.terms import LARGE, Atom, disk_log, encode

THREAD = "019a1f30-6c1e-7d42-9b1a-3e5f7a90c211"
TURN = "019a1f30-7a00-7c11-a0de-4f10aa220001"
EARLY, LATE = moment("2026-05-01T00:00:00Z"), moment("2026-06-01T00:00:00Z")


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("64 0003 6e696c", None),  # the atom `nil` as OTP 25 and before write it
        ("77 04 74727565", True),  # `true`, as OTP 26 and later do
        ("76 0002 c3bc", "\u00fc"),  # a long atom in UTF-8
        ("73 02 6162", "ab"),
        ("61 ff", 255),
        ("62 ffffffff", -1),
        ("6e 05 00 0000000001", 2**32),
        ("6e 01 01 07", -7),
        ("46 3ff8000000000000", 1.5),
        ("6d 00000003 c3bc61", "\u00fca"),
        ("6b 0003 312e30", [49, 46, 48]),  # text as a list of small numbers
        ("6a", []),
        ("6c 00000001 6101 6a", [1]),
        ("6c 00000001 6101 6102", [1, 2]),  # an improper list
        ("68 02 6101 6a", (1, [])),
        ("69 00000001 6101", (1,)),
        ("74 00000001 770161 6102", {"a": 2}),
    ],
)
def test_terms_are_decoded_as_the_external_format_defines_them(encoded: str, value: Any) -> None:
    assert opened(b"\x83" + bytes.fromhex(encoded)).term() == value


@pytest.mark.parametrize(
    "encoded",
    [
        "58 77016e 00000001 00000000 00000002",  # a process
        "67 77016e 00000001 00000000 01",
        "5a 0002 77016e 00000001 00000001 00000002",  # a reference
        "72 0001 77016e 01 00000001",
        "59 77016e 00000001 00000002",  # a port
        "71 770161 770162 6101",  # an exported function
    ],
)
def test_what_no_count_depends_on_is_passed_over_in_its_whole_length(encoded: str) -> None:
    one, other = opened(b"\x83\x68\x02" + bytes.fromhex(encoded) + b"\x61\x05").term()
    assert isinstance(one, Opaque)
    assert other == 5


def test_a_compressed_term_is_read() -> None:
    plain = encode("a" * 100)[1:]
    packed = b"\x83\x50" + len(plain).to_bytes(4, "big") + zlib.compress(plain)
    assert opened(packed).term() == "a" * 100


_TERMS = st.recursive(
    st.one_of(
        st.integers(-(2**70), 2**70),
        st.text(max_size=8),
        st.sampled_from(["run_id", "tokens"]).map(Atom),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
    ),
    max_leaves=20,
)


def test_a_map_may_have_any_term_as_its_key() -> None:
    one_pair = b"\x74" + (1).to_bytes(4, "big")
    key, value = encode(([{"a": 1}],))[1:], encode(2)[1:]
    assert list(opened(b"\x83" + one_pair + key + value).term().values()) == [2]


@given(_TERMS)
def test_what_is_written_is_read_again(term: Any) -> None:
    assert opened(encode(term)).term() == term


@given(_TERMS, st.data())
def test_a_term_that_was_cut_off_or_changed_is_an_error_and_nothing_else(
    term: Any, data: st.DataObject
) -> None:
    encoded = bytearray(encode(term))
    cut = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(TermError):
        opened(bytes(encoded[:cut])).term()
    encoded[data.draw(st.integers(1, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(TermError):
        opened(bytes(encoded)).term()


def test_terms_nested_without_end_are_an_error() -> None:
    with pytest.raises(TermError):
        Cursor(b"\x68\x01" * 100_000).term()


def test_large_items_carry_a_digest_of_their_size_in_front() -> None:
    terms = ["a", "b" * LARGE, "c"]
    found = [opened(item.content or b"").term() for item in items(disk_log("dcd_log", terms))]
    assert found[1:] == terms


def test_the_log_goes_on_behind_a_damaged_item() -> None:
    data = bytearray(disk_log("dcd_log", ["first", "second", "third"]))
    at = data.index(b"bWLA", data.index(b"first"))
    data[at : at + 4] = b"bXLA"
    found = [item.content and opened(item.content).term() for item in items(bytes(data))]
    assert found[1:] == ["first", None, "third"]


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ('%{"a" => 1, "b" => nil, "c" => true}', {"a": 1, "b": None, "c": True}),
        ('%{a: 1, b: :word, "c d": -2.5}', {"a": 1, "b": "word", "c d": -2.5}),
        ("%{:a => [1, 2, ...], ...}", {"a": [1, 2]}),
        ('{:turn_failed, %{"x" => "y" <> ...}}', ["turn_failed", {"x": "y"}]),
        ("%Some.Struct{pid: #PID<0.1.0>, raw: <<1, 2>>}", {"pid": None, "raw": None}),
        (
            '["\\"\\\\\\n\\#{a}\\u00fc\\x{1F600}", [key: 1]]',
            ['"\\\n#{a}\u00fc\U0001f600', [["key", 1]]],
        ),
    ],
)
def test_printed_elixir_is_read_as_the_value_it_shows(printed: str, value: Any) -> None:
    assert elixir.parse(printed) == value


@given(st.text(alphabet='%{}[]()"\\=>,:.#<a1 \n', max_size=40))
def test_what_is_no_elixir_is_a_value_error_and_nothing_else(printed: str) -> None:
    with suppress(ValueError):
        elixir.parse(printed)


@pytest.mark.parametrize(
    ("stated", "thread", "agent"),
    [
        (f"{THREAD}-{TURN}", THREAD, CODEX),
        (f"{THREAD}-7", THREAD, CODEX),
        (f"thread-1-{TURN}", "thread-1", CODEX),
        (THREAD, THREAD, CLAUDE),
        ("thread-1-turn-1", "thread-1-turn-1", None),
        (None, None, None),
        ("", None, None),
        (7, None, None),
    ],
)
def test_the_shape_of_a_session_id_tells_thread_and_agent(
    stated: object, thread: str | None, agent: str | None
) -> None:
    assert session(stated) == (thread, agent)


def test_an_agent_is_told_by_the_best_evidence_there_is() -> None:
    """Each piece of evidence contradicts all that are weaker."""
    run: dict[str, Any] = {
        "agent_kind": "claude",
        "codex_app_server_pid": "4242",
        "last_event": "tool_use",
        "session_id": f"{THREAD}-{TURN}",
    }
    told = [(CLAUDE, "agent-kind"), (CODEX, "app-server-pid"), (CLAUDE, "last-event")]
    told += [(CODEX, "session-id"), (CLAUDE, "cached-exceeds-input")]
    for key, agent in zip([*run, None], told, strict=True):
        assert agent_of(run, EARLY, exceeds=True) == agent
        run.pop(key or "", None)
    assert agent_of({"agent_kind": "unknown"}, EARLY) == (CODEX, "date")
    assert agent_of({"agent_kind": "unknown"}, LATE) == (None, "unknown")


def put(tokens: dict[str, Any], agent: str | None) -> Reported:
    row = Reported(record=1, kind=SUM)
    stated = read_tokens(tokens, [])
    assert stated is not None
    put_tokens(row, stated, Agent(agent, "test"))
    return row


def test_a_map_with_a_total_alone_has_no_buckets() -> None:
    row = put({"total_tokens": 500}, CODEX)
    assert (row.rule, row.reported_total_tokens) == ("total-only", 500)
    assert row.reported_input_tokens is row.reported_output_tokens is None


def test_the_input_of_six_keys_is_not_needed_but_has_to_agree() -> None:
    keys = {"uncached_input_tokens": 5, "cached_input_tokens": 7}
    six = {**keys, "cache_creation_input_tokens": 1, "output_tokens": 2, "input_tokens": 99}
    row = put(six, None)
    assert row.problems == ["input-disagrees"]
    assert (row.reported_input_tokens, row.reported_cached_tokens) == (5, 7)


def test_reasoning_and_writes_that_symphony_leaves_out_are_read_from_the_agent_s_own_map() -> None:
    row = Reported(record=1)
    assert put_codex(
        row, {"inputTokens": 9, "cacheWriteInputTokens": 2, "reasoningOutputTokens": 1}
    )
    assert (row.reported_cache_creation_tokens, row.reported_reasoning_tokens) == (2, 1)
    assert not put_codex(row, {"modelContextWindow": 9})


def test_a_run_is_begun_at_the_same_second_in_the_store_and_in_an_export() -> None:
    struct = dict(zip(("year", "month", "day"), (2026, 5, 29), strict=True))
    struct |= dict(zip(("hour", "minute", "second"), (10, 0, 0), strict=True))
    stored = {**struct, "microsecond": (500600, 6), "utc_offset": 28800, "std_offset": 0}
    served = {"issue_id": "i", "started_at": "2026-05-29T02:00:00Z"}
    assert dispatch({"issue_id": "i", "started_at": stored}) == dispatch(served)


def records(*contents: dict[str, Any]) -> list[dict[str, Any]]:
    chained: list[dict[str, Any]] = []
    for content in contents:
        record = {"event_type": "tool_call", "date": "2026-05-29", **content}
        if chained and "previous_hash" not in content:
            record["previous_hash"] = chained[-1]["record_hash"]
        canonical = json.dumps(
            record, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        chained.append({**record, "record_hash": sha256(canonical).hexdigest()})
    return chained


def problems(lines: list[str], name: str = "2026-05-29.ndjson") -> list[tuple[int, list[str]]]:
    state = SOURCE.begin(FileFacts(parts=("audit", name)))
    rows, _ = SOURCE.read("\n".join(lines).encode(), state)
    return [(row.record, row.problems or []) for row in rows]


def test_a_record_is_sound_whatever_its_spaces_and_the_order_of_its_keys() -> None:
    chained = records({"n": 1, "t": "\u00fc\n/"}, {"n": 2}, {"n": 3})
    assert problems([json.dumps(record) for record in chained]) == []
    compact = [json.dumps(record, separators=(",", ":")) for record in chained]
    assert problems(compact) == []


def test_a_missing_record_is_a_problem_of_the_one_behind_it_but_not_in_an_export() -> None:
    lines = [json.dumps(record) for record in records({"n": 1}, {"n": 2}, {"n": 3})]
    assert problems([lines[0], lines[2]]) == [(2, ["broken-chain"])]
    assert problems([lines[1]]) == [(1, ["broken-chain"])]
    assert problems([lines[0], lines[2]], "symphony-audit.ndjson") == []


def test_each_day_of_a_file_begins_a_chain() -> None:
    first, second = records({"n": 1}), records({"n": 2, "date": "2026-05-30"})
    assert problems([json.dumps(record) for record in [*first, *second]]) == []


def test_the_record_behind_an_unreadable_line_is_not_blamed() -> None:
    lines = [json.dumps(record) for record in records({"n": 1}, {"n": 2}, {"n": 3})]
    assert problems([lines[0], '{"cut', lines[2]]) == [(2, ["bad-line"])]


def test_the_state_is_plain_and_can_be_kept() -> None:
    state = SOURCE.begin(FileFacts())
    assert msgspec.convert(msgspec.to_builtins(state), type(state)) == state


def test_cache_writes_under_the_name_of_a_fork() -> None:
    """Forks of Codex that serve Claude call cache writes as Anthropic does."""
    row = Reported(record=1)
    counts = {"input_tokens": 900, "cache_creation_input_tokens": 200, "output_tokens": 5}
    assert put_codex(row, counts)
    assert (row.reported_input_tokens, row.reported_cache_creation_tokens) == (900, 200)
