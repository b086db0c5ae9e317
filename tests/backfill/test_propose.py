"""What is proposed for a call beside its evidence, one rule each."""

from __future__ import annotations

from typing import Any

import pytest

from tallybook.backfill.propose import Proposal
from tests.backfill.pairs import START, WHO, answer, call, propose, rows

INPUT = ("uncached_input_tokens", "cached_input_tokens", "cache_creation_input_tokens")


_known: dict[str, Proposal] = {}


def proposal(*given: dict[str, Any]) -> Proposal:
    """What is proposed of the rows, worked out once for tests that ask two things of it."""
    key = repr(given)
    if key not in _known:
        _known[key] = propose(rows(*given))
    return _known[key]


def proposed(*given: dict[str, Any]) -> dict[str, Any] | None:
    """The correction of the prompt, where there is one."""
    found = proposal(*given).corrections.rows(named=True)
    return next((row for row in found if row["direction"] == "input"), None)


def filled(*given: dict[str, Any]) -> tuple[Any, ...] | None:
    """The uncached, cached and written counts that would be filled."""
    row = proposed(*given)
    return None if row is None else tuple(row[name] for name in INPUT)


def reason(*given: dict[str, Any]) -> list[str]:
    return proposal(*given).unrecoverable["reason"].to_list()


@pytest.mark.parametrize(
    ("stated", "evidence", "fill"),
    [
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9000, "cached": 8000, "output": 5},
            (1000, 8000, None),
            id="a sum is split",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"dialect": "anthropic", "input": 400, "cached": 8000, "creation": 600, "output": 5},
            (400, 8000, 600),
            id="a sum is split by one who counts the cache beside the prompt",
        ),
        pytest.param(
            {"dialect": "anthropic", "input": 14, "output": 5},
            {"dialect": "anthropic", "input": 14, "cached": 30, "creation": 12, "output": 5},
            (14, 30, 12),
            id="the cache is put beside an uncached prompt",
        ),
        pytest.param(
            {"dialect": "anthropic", "input": 14, "output": 5},
            {"input": 56, "cached": 30, "creation": 12, "output": 5},
            (14, 30, 12),
            id="it may be counted inside the other prompt",
        ),
        pytest.param(
            {"input": 27985, "cached": 0, "creation": 0, "output": 180},
            {"input": 27985, "cached": 27136, "output": 180},
            (849, 27136, 0),
            id="a false zero",
        ),
        pytest.param(
            {"input": 45109, "cached": 22548, "creation": 0, "output": 210},
            {"dialect": "anthropic", "input": 13, "cached": 22548, "creation": 0, "output": 210},
            (13, 22548, 0),
            id="the cache was added twice",
        ),
        pytest.param(
            {"dialect": "anthropic", "input": 56, "output": 5, "assumed": ["input"]},
            {"input": 56, "cached": 30, "creation": 12, "output": 5},
            (14, 30, 12),
            id="a guess that the cache lies beside is put right",
        ),
        pytest.param(
            {"input": 14, "output": 5, "assumed": ["input"]},
            {"dialect": "anthropic", "input": 14, "cached": 30, "creation": 12, "output": 5},
            (14, 30, 12),
            id="a guess that the cache lies inside is put right",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"cached": 8000, "output": 5},
            (1000, 8000, None),
            id="evidence without a prompt takes that of the row",
        ),
        pytest.param(
            {"output": 5},
            {"input": 9000, "cached": 8000, "output": 5},
            (1000, 8000, None),
            id="a row without a prompt takes that of the evidence",
        ),
    ],
)
def test_a_prompt_is_filled(
    stated: dict[str, Any], evidence: dict[str, Any], fill: tuple[Any, ...]
) -> None:
    assert filled(call(**stated), answer(**evidence)) == fill


@pytest.mark.parametrize(
    ("stated", "evidence", "why"),
    [
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9001, "cached": 8000, "output": 5},
            "input-disagrees",
            id="another prompt",
        ),
        pytest.param(
            {"dialect": "anthropic", "input": 56, "output": 5},
            {"input": 56, "cached": 30, "creation": 12, "output": 5},
            "input-disagrees",
            id="a certain reading that the evidence contradicts",
        ),
        pytest.param(
            {"input": 9000, "creation": 7, "output": 5},
            {"input": 9000, "cached": 8000, "creation": 6, "output": 5},
            "input-disagrees",
            id="other cache writes",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9000, "cached": 8000, "output": 6},
            "output-disagrees",
            id="another output",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"cached": 9001, "output": 5},
            "response-without-counts",
            id="more cache than prompt",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9000, "output": 5},
            "response-without-counts",
            id="evidence that knows no more",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9000, "cached": 80, "output": 5, "assumed": ["input"]},
            "ambiguous-dialect",
            id="evidence that is a guess itself",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"input": 9000, "cached": 80, "output": 5, "problems": ["estimated"]},
            "estimated",
            id="an estimate",
        ),
        pytest.param(
            {"input": 9000, "output": 5},
            {"output": 5, "problems": ["truncated-body"]},
            "truncated-body",
            id="a body that was cut",
        ),
    ],
)
def test_what_is_not_proved_is_refused(
    stated: dict[str, Any], evidence: dict[str, Any], why: str
) -> None:
    given = (call(**stated), answer(**evidence))
    assert filled(*given) is None
    assert reason(*given) == [why]


def test_the_surplus_in_an_altered_body_is_left_out() -> None:
    given = call(dialect="anthropic", input=14, output=5)
    body: dict[str, Any] = {
        "dialect": "anthropic",
        "input": 2014,
        "cached": 30,
        "creation": 12,
        "output": 5,
    }
    assert filled(given, answer(part="providerResponse", **body)) == (14, 30, 12)
    # The detail's own counts are never altered, so there the same number is another prompt.
    assert reason(given, answer(part="tokens", **body)) == ["input-disagrees"]


def test_two_readings_that_lead_apart_prove_nothing() -> None:
    """A prompt of 2100 without its cache, or of 4100 with 2000 of cache and the surplus on top."""
    given = call(input=2100, output=5, assumed=["input"])
    body: dict[str, Any] = {
        "dialect": "anthropic",
        "input": 2100,
        "cached": 2000,
        "creation": 0,
        "output": 5,
    }
    assert reason(given, answer(part="providerResponse", **body)) == ["ambiguous-dialect"]


def test_the_body_fills_what_the_detail_lost() -> None:
    who: dict[str, Any] = {"provider": "gemini", "model": "gemini-2.5-pro"}
    given = call(input=6000, output=220, **who)
    tokens = answer(dialect="gemini", input=6000, output=220, reasoning=90, **who)
    body = answer(
        part="providerResponse",
        dialect="gemini",
        input=6000,
        cached=4096,
        output=220,
        reasoning=90,
        **who,
    )
    found = propose(rows(given, tokens, body)).corrections.rows(named=True)
    prompt, output = found
    assert [prompt[name] for name in INPUT] == [1904, 4096, None]
    assert (prompt["method"], prompt["evidence_part"]) == ("response", "providerResponse")
    # The row left out the thoughts that the answer counts beside the text.
    assert (output["output_tokens"], output["reasoning_output_tokens"]) == (310, 90)


def test_a_detail_and_its_body_that_disagree_fill_nothing() -> None:
    tokens = answer(input=9000, cached=8000, output=5)
    body = answer(part="providerResponse", input=9000, cached=7000, output=5)
    assert reason(call(input=9000, output=5), tokens, body) == ["evidence-disagrees"]


def test_a_detail_and_its_body_that_disagree_on_the_writes_fill_nothing() -> None:
    stated: dict[str, Any] = {"dialect": "anthropic", "input": 14, "output": 5}
    tokens = answer(**stated, cached=30, creation=12)
    body = answer(part="providerResponse", **stated, cached=30, creation=13)
    assert reason(call(**stated), tokens, body) == ["evidence-disagrees"]


def test_of_two_that_agree_the_one_that_knows_more_is_taken() -> None:
    stated: dict[str, Any] = {"dialect": "anthropic", "input": 14, "output": 5}
    tokens = answer(**stated, cached=30)
    body = answer(part="providerResponse", **stated, cached=30, creation=12)
    assert filled(call(**stated), tokens, body) == (14, 30, 12)


def test_a_zero_that_another_source_states_is_believed() -> None:
    stated: dict[str, Any] = {
        "source": "codex",
        "input": 9000,
        "cached": 0,
        "creation": 0,
        "output": 5,
    }
    evidence: dict[str, Any] = {"source": "codex", "input": 9000, "cached": 8000, "output": 5}
    assert filled(call(**stated), answer(**evidence)) is None


def test_a_call_is_found_by_the_provider_s_id_in_any_source_at_any_time() -> None:
    given = call(input=9000, output=5, response_id="resp_1")
    body = answer(
        source="responses",
        provider="openai",
        at=9_000_000,
        part=None,
        input=9000,
        cached=8000,
        output=5,
        response_id="resp_1",
    )
    found = proposed(given, body)
    assert found is not None
    assert (found["method"], found["rule"]) == ("response", "by id: same prompt")


def test_an_id_does_not_excuse_another_prompt() -> None:
    given = call(input=9000, output=5, response_id="resp_1")
    body = answer(input=9001, cached=8000, output=5, response_id="resp_1", at=9_000_000)
    assert reason(given, body) == ["input-disagrees"]


def test_an_answer_that_belongs_to_one_call_is_never_another_one_s() -> None:
    own = call(1, input=9000, cached=8000, creation=0, output=5, response_id="resp_1")
    other = call(2, input=9000, output=5)
    body = answer(input=9000, cached=8000, creation=0, output=5, response_id="resp_1")
    assert reason(own, other, body) == ["no-response-kept"]


def test_an_answer_whose_id_two_calls_state_fills_neither() -> None:
    given = [call(n, input=9000, output=5, response_id="resp_1") for n in (1, 2)]
    body = answer(input=9000, cached=8000, output=5, response_id="resp_1", at=9_000_000)
    assert reason(*given, body) == ["ambiguous-match"] * 2


def test_what_was_kept_of_a_row_that_yields_to_its_client_s_log_answers_a_call() -> None:
    """The router's row is a witness of the client's call; another answer has no row at all."""
    session = "03160353-1e7c-4293-8383-ff258a122206"
    client = {
        "source": "claude-code", "path": "session.jsonl", "record": 1, "identity": "msg_1",
        "dialect": "anthropic", "model": WHO["model"], "requested_model": "cc/x", "routed": True,
        "thread_id": session, "root_thread_id": session, "finished": True,
        "timestamp": START, "reported_input_tokens": 1000, "reported_cached_tokens": 8000,
        "reported_cache_creation_tokens": 0, "reported_output_tokens": 500,
    }  # fmt: skip
    counts: dict[str, Any] = {"input": 9000, "cached": 8000, "creation": 0, "output": 500}
    row = call(2, at=100, route="claude>openai stream", **counts)
    detail = answer(at=101, route="?>openai stream", thread_id=session, log_source="claude-code",
                    **counts)  # fmt: skip
    given = rows(client, row, detail)
    assert given["duplicate_reason"].drop_nulls().to_list() == ["witness"]
    assert propose(given).unused == 0
    assert propose(rows(client, row, detail, answer(2, at=9000, **counts))).unused == 1


def test_a_copy_of_the_row_does_not_keep_it_from_its_answers() -> None:
    """The old file beside a migrated database, or a backup: the same row again, and no answers."""
    row = call(1, record_id="row-1", input=9000, cached=0, creation=0, output=5)
    copies = [
        row | {"path": path} for path in ("backups/data.sqlite", "usage.json", "old/usage.json")
    ]
    detail = answer(at=-3, input=9000, cached=8000, output=5)
    assert filled(row, *copies, detail) == (1000, 8000, 0)
    assert propose(rows(row, *copies, detail)).unused == 0


def test_a_call_has_the_ids_of_all_its_records() -> None:
    """The record that counts may have lost what a lesser one still names."""
    whole = call(1, input=9000, output=5)
    lesser = call(1, record=2, output=4, input=9000, response_id="resp_1", request_id="req_1")
    body = answer(at=9_000_000, input=9000, cached=8000, output=5)
    for name in ({"response_id": "resp_1"}, {"request_id": "req_1"}):
        assert filled(whole, lesser, body | name) == (1000, 8000, None)


def test_what_says_again_what_is_proved_already_belongs_to_its_call() -> None:
    """Two copies of an answer in two folders, and the detail of a row that its twin has filled."""
    given = call(input=9000, output=5, response_id="resp_1")
    body: dict[str, Any] = {"input": 9000, "cached": 8000, "output": 5, "response_id": "resp_1"}
    copies = [answer(record_id=None, at=9_000_000, path=path, **body) for path in ("a", "b")]
    found = propose(rows(given, *copies))
    assert (found.corrections["cached_input_tokens"].to_list(), found.unused) == ([8000], 0)
    detail = answer(2, input=9000, cached=8000, output=5)
    assert propose(rows(given, *copies, detail)).unused == 0


def test_a_reader_names_the_call_by_its_identity() -> None:
    given = call(source="deer-flow", input=9000, output=5)
    body = answer(
        source="deer-flow", identity="call-1", at=60_000, input=9000, cached=8000, output=5
    )
    found = proposed(given, body)
    assert found is not None
    assert found["method"] == "events"


def test_the_nearest_in_time_is_the_call_s_own() -> None:
    given = [call(n, at=1000 * n, input=9000, output=5) for n in (1, 2, 3)]
    details = [answer(n, at=1000 * n - 3, input=9000, cached=n, output=5) for n in (1, 2, 3)]
    found = propose(rows(*given, *details)).corrections
    assert found["cached_input_tokens"].to_list() == [1, 2, 3]


def test_of_like_calls_with_unlike_details_only_the_order_is_unknown() -> None:
    """Either way they took 3 cached tokens and 17,997 others: the sum is proved, and filled."""
    given = [call(n, at=10 * n, input=9000, output=5) for n in (1, 2)]
    details = [answer(n, at=10 * n, input=9000, cached=n, output=5) for n in (1, 2)]
    found = propose(rows(*given, *details)).corrections
    assert found["cached_input_tokens"].to_list() == [1, 2]
    assert found["rule"].str.contains("in whichever order").all()


@pytest.mark.parametrize(
    ("second", "cached"),
    [
        pytest.param({"project": "another"}, (1, 2), id="of-two-projects"),
        pytest.param({"service_tier": "batch"}, (1, 2), id="of-two-prices"),
        pytest.param({"at": -10}, (1, 2), id="of-two-hours"),
        pytest.param({}, (1, 2, 3), id="more-details-than-calls"),
    ],
)
def test_calls_with_unlike_details_are_refused(
    second: dict[str, Any], cached: tuple[int, ...]
) -> None:
    like = {"at": 20, "input": 9000, "output": 5}
    given = [call(1, at=10, input=9000, output=5), call(2, **like | second)]
    details = [answer(n, at=10 * n, input=9000, cached=n, output=5) for n in cached]
    assert reason(*given, *details) == ["ambiguous-match"] * 2


def test_calls_at_the_same_time_with_like_details_are_filled() -> None:
    given = [call(n, at=10 * n, input=9000, output=5) for n in (1, 2)]
    details = [answer(n, at=10 * n, input=9000, cached=7, output=5) for n in (1, 2)]
    assert propose(rows(*given, *details)).corrections["cached_input_tokens"].to_list() == [7, 7]


def test_one_detail_is_not_enough_for_two_calls() -> None:
    given = [call(n, at=10 * n, input=9000, output=5) for n in (1, 2)]
    assert reason(*given, answer(input=9000, cached=7, output=5)) == ["ambiguous-match"] * 2


def test_a_silent_row_takes_only_the_one_detail_near_it() -> None:
    one = answer(1, at=-100, input=9000, cached=8000, output=5)
    two = answer(2, at=100, input=9000, cached=8000, output=5)
    assert filled(call(output=5), one) == (1000, 8000, None)
    assert reason(call(output=5), one, two) == ["ambiguous-match"]


@pytest.mark.parametrize(
    ("apart", "why"), [(2001, ["outside-tolerance"]), (-2001, ["outside-tolerance"]), (2000, [])]
)
def test_two_seconds_apart_are_allowed_and_no_more(apart: int, why: list[str]) -> None:
    given = call(input=9000, output=5)
    assert reason(given, answer(at=apart, input=9000, cached=8000, output=5)) == why


@pytest.mark.parametrize("other", ["provider", "model", "connection_id"])
def test_a_detail_of_another_connection_is_no_evidence(other: str) -> None:
    elsewhere: dict[str, Any] = {other: "another"}
    detail = answer(input=9000, cached=8000, output=5, **elsewhere)
    assert reason(call(input=9000, output=5), detail) == ["no-response-kept"]


def test_a_connection_that_neither_names_is_the_same() -> None:
    given = call(input=9000, output=5, connection_id=None)
    detail = answer(input=9000, cached=8000, output=5, connection_id=None)
    assert filled(given, detail) == (1000, 8000, None)


def test_a_bare_capture_answers_the_one_call_with_its_counts() -> None:
    bare: dict[str, Any] = {"provider": None, "connection_id": None, "part": None}
    given = call(at=60_000, input=9000, output=5)
    capture = answer(at=0, input=9000, cached=8000, output=5, **bare)
    assert filled(given, capture) == (1000, 8000, None)
    late = answer(at=70_000, input=9000, cached=8000, output=5, **bare)
    assert reason(given, late) == ["no-response-kept"]
    assert (
        reason(given, call(2, at=90_000, input=9000, output=5), capture) == ["ambiguous-match"] * 2
    )


def test_a_client_s_call_of_the_same_id_leaves_a_router_s_row_its_own_evidence() -> None:
    ids: dict[str, Any] = {"response_id": "msg_0123456789abcdef"}
    row: dict[str, Any] = {"dialect": "anthropic", "input": 20, "output": 60}
    body = answer(
        part="providerResponse", dialect="anthropic", input=20, cached=900, creation=100, output=60,
        **ids,
    )  # fmt: skip
    known: dict[str, Any] = {
        "source": "claude-code",
        "path": "s.jsonl",
        "connection_id": None,
        "dialect": "anthropic",
        "input": 20,
        "cached": 900,
        "creation": 100,
        "output": 60,
    }
    client = call(2, **(known | ids))
    assert filled(call(1, **row), body) == (20, 900, 100)
    assert filled(call(1, **row), body, client) == (20, 900, 100)
    assert filled(client, body, call(1, **row)) == (20, 900, 100)
