"""Single values as logs have them: the table of `values`, row by row, and JSON that is odd."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallybook import values
from tallybook.values import (
    MAX_COUNT,
    UUID,
    count,
    decode,
    error_name,
    instant,
    money,
    party,
    text,
)

NOON = datetime(2025, 11, 20, 12, tzinfo=UTC)
SECONDS = 1763640000  # of noon
BAD = "bad-number"  # None, and a problem
DAY_ONE = datetime(1970, 1, 1, tzinfo=UTC)
FAR = datetime(2255, 6, 5, 23, 47, 34, 740_992, UTC)  # 2^53 as microseconds

# What is logged, then its text, count, amount of money and time.
TABLE: list[tuple[object, object, object, object, object]] = [
    (None, None, None, None, None),
    (12, None, 12, 12, None),
    (12.0, None, 12, 12, None),
    (1.2e1, None, 12, 12, None),
    ("12", "12", 12, 12, None),
    (" 12.0 ", " 12.0 ", 12, 12, None),
    ("1.2e1", "1.2e1", 12, 12, None),
    (0, None, 0, 0, None),
    (-0.0, None, 0, 0, None),
    ("0", "0", 0, 0, None),
    ("-0", "-0", 0, 0, None),
    (0.25, None, BAD, Decimal("0.25"), None),
    ("0.25", "0.25", BAD, Decimal("0.25"), None),
    (-1, None, BAD, BAD, None),
    (-0.5, None, BAD, BAD, None),
    ("-1", "-1", BAD, BAD, None),
    (float("nan"), None, BAD, BAD, None),
    (float("inf"), None, BAD, BAD, None),
    (float("-inf"), None, BAD, BAD, None),
    (MAX_COUNT, None, MAX_COUNT, BAD, datetime(2286, 11, 20, 17, 46, 40, 0, UTC)),
    (MAX_COUNT + 1, None, BAD, BAD, None),
    (2**53, None, BAD, BAD, FAR),
    (999_999_999, None, 999_999_999, 999_999_999, None),
    (10**9, None, 10**9, 10**9, datetime(2001, 9, 9, 1, 46, 40, 0, UTC)),
    (10**11, None, 10**11, 10**11, None),
    (10**30, None, BAD, BAD, None),
    (10**4200, None, BAD, BAD, None),
    (1e300, None, BAD, BAD, None),
    ("9" * 30, "9" * 30, BAD, BAD, None),
    ("9" * 5000, "9" * 5000, BAD, BAD, None),
    ("1e99999999", "1e99999999", BAD, BAD, None),
    (True, None, BAD, BAD, None),
    (False, None, BAD, BAD, None),
    ([1], None, BAD, BAD, None),
    ({"n": 1}, None, BAD, BAD, None),
    ("", None, BAD, BAD, None),
    (" \t", None, BAD, BAD, None),
    ("NaN", "NaN", BAD, BAD, None),
    ("Infinity", "Infinity", BAD, BAD, None),
    ("1,000", "1,000", BAD, BAD, None),
    ("1_000", "1_000", BAD, BAD, None),
    ("١٢", "١٢", BAD, BAD, None),  # digits of another script
    ("$1", "$1", BAD, BAD, None),
    ("gpt-5", "gpt-5", BAD, BAD, None),
    (" gpt-5", " gpt-5", BAD, BAD, None),
    (b"12", None, BAD, BAD, None),
    (SECONDS, None, SECONDS, SECONDS, NOON),
    (SECONDS * 10**3, None, SECONDS * 10**3, SECONDS * 10**3, NOON),
    (SECONDS * 10**6, None, BAD, BAD, NOON),
    (SECONDS * 10**9, None, BAD, BAD, NOON),
    (SECONDS + 0.5, None, BAD, Decimal(SECONDS) + Decimal("0.5"), NOON + timedelta(seconds=0.5)),
    (
        SECONDS * 10**3 + 1,
        None,
        SECONDS * 10**3 + 1,
        SECONDS * 10**3 + 1,
        NOON.replace(microsecond=1000),
    ),
    ("1763640000", "1763640000", SECONDS, SECONDS, NOON),
    (
        "1763640000.5",
        "1763640000.5",
        BAD,
        Decimal("1763640000.5"),
        NOON.replace(microsecond=500_000),
    ),
    ("1763640000000", "1763640000000", SECONDS * 10**3, SECONDS * 10**3, NOON),
    # A date in its basic form can be found in these digits of April 2024: 1712-05-15, 01:01.
    (
        "1712051510101",
        "1712051510101",
        1712051510101,
        1712051510101,
        datetime(2024, 4, 2, 9, 51, 50, 101_000, UTC),
    ),
    ("2025-11-20T12:00:00Z", "2025-11-20T12:00:00Z", BAD, BAD, NOON),
    ("2025-11-20t12:00:00z", "2025-11-20t12:00:00z", BAD, BAD, NOON),
    (" 2025-11-20T12:00:00.000Z\n", " 2025-11-20T12:00:00.000Z\n", BAD, BAD, NOON),
    ("2025-11-20T14:00:00+02:00", "2025-11-20T14:00:00+02:00", BAD, BAD, NOON),
    ("2025-11-20 12:00:00", "2025-11-20 12:00:00", BAD, BAD, NOON),
    ("2025-11-20", "2025-11-20", BAD, BAD, NOON.replace(hour=0)),
    ("2025-11-31T12:00:00Z", "2025-11-31T12:00:00Z", BAD, BAD, None),
    ("Thu, 20 Nov 2025 12:00:00 GMT", "Thu, 20 Nov 2025 12:00:00 GMT", BAD, BAD, NOON),
    ("Thu, 20 Nov 2025 13:00:00 +0100", "Thu, 20 Nov 2025 13:00:00 +0100", BAD, BAD, NOON),
    ("yesterday", "yesterday", BAD, BAD, None),
    ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", BAD, BAD, None),
    ("1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z", BAD, BAD, None),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", BAD, BAD, None),  # what Go writes for no time
    ("0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00+05:00", BAD, BAD, None),
    ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", BAD, BAD, None),  # what means never
    ("2287-01-01T00:00:00Z", "2287-01-01T00:00:00Z", BAD, BAD, None),  # past what a number says
    (NOON, None, BAD, BAD, NOON),  # MessagePack and TOML have times of their own
    (NOON.astimezone(timezone(timedelta(hours=2))), None, BAD, BAD, NOON),
]


def verdict(read: Any, value: object) -> object:
    problems: list[str] = []
    found = read(value, problems)
    assert found is None or not problems
    return problems[0] if problems else found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: repr(row[0])[:40])
def test_every_source_reads_a_value_alike(row: tuple[object, ...]) -> None:
    value, as_text, as_count, as_money, as_time = row
    assert text(value) == as_text
    assert verdict(count, value) == as_count
    assert verdict(money, value) == as_money
    assert instant(value) == as_time


@pytest.mark.parametrize("value", [12.0, "12", "1.2e1", -0.0, True])
def test_a_count_is_an_integer_that_its_column_holds(value: object) -> None:
    found = count(value, [])
    assert found is None or type(found) is int


def test_a_million_of_the_largest_counts_add_up_in_a_column() -> None:
    assert 900_000 * MAX_COUNT < 2**63


def test_money_keeps_what_the_log_had_and_no_sign_of_zero() -> None:
    assert str(money(0.1, [])) == "0.100000000000000"
    assert str(money(-0.0, [])) == "0E-15"
    assert str(money("1e-30", [])) == "0E-15"
    assert money(9_999_999_999_999.5, []) == Decimal("9999999999999.5")
    assert verdict(money, 10**13) == BAD


def test_only_a_time_without_its_zone_is_said_to_be_assumed() -> None:
    problems: list[str] = []
    for stated in ("2025-11-20T12:00:00Z", "2025-11-20T14:00:00+02:00", SECONDS, "abc", None, 0):
        instant(stated, problems)
    assert problems == []
    assert instant("2025-11-20 12:00:00", problems) == NOON
    assert problems == ["assumed-time"]


@pytest.mark.parametrize(
    ("identifier", "time"),
    [
        ("019aa122-be00-7abc-8def-0123456789ab", NOON),
        ("019AA122-BE00-7ABC-8DEF-0123456789AB", NOON),
        # The two of RFC 9562 (A.5, A.6): both Tue, 22 Feb 2022, 2:22:22 PM at UTC-5.
        ("1EC9414C-232A-6B00-B3C8-9F6BDECED846", datetime(2022, 2, 22, 19, 22, 22, 0, UTC)),
        ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", datetime(2022, 2, 22, 19, 22, 22, 0, UTC)),
        ("019aa144-1000-4abc-8def-0123456789ab", None),  # random
        ("019aa144-1000-7abc-8def-0123456789abc", None),
        ("019aa14410007abc8def0123456789ab", None),
        ("00000000-0000-7abc-8def-0123456789ab", None),  # 1970
        ("00000000-0000-6abc-8def-0123456789ab", None),  # 1582
        ("ffffffff-ffff-7abc-8def-0123456789ab", None),  # a year that has five digits
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_the_time_inside_an_identifier(identifier: object, time: datetime | None) -> None:
    assert values.uuid_time(identifier) == time
    assert time is None or UUID.fullmatch(str(identifier))


class Usage(msgspec.Struct):
    """A shape to decode into."""

    tokens: Any = None
    model: Any = None


USAGE = msgspec.json.Decoder(Usage)
LONG = "9" * 5000


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("logged", "value"),
    [
        (r'{"tokens":1,"model":"\ud800"}', {"tokens": 1, "model": "?"}),
        (r'{"tokens":1,"model":"a\udc00b"}', {"tokens": 1, "model": "a?b"}),
        (r'{"tokens":1,"model":"\ud83d\ude00"}', {"tokens": 1, "model": "😀"}),
        ('{"tokens":1,"\\ud800":2}', {"tokens": 1, "?": 2}),
        ('{"tokens":1,"model":"a\x01b"}', {"tokens": 1, "model": "a\x01b"}),
        ('{"tokens":1,"tokens":2}', {"tokens": 2}),
        ('{"tokens":1,"tokens":2,"model":NaN}', {"tokens": 2, "model": 1e308}),
        ('{"tokens":-0}', {"tokens": 0}),
        ('{"tokens":1e3}', {"tokens": 1000}),
        ('{"tokens":' + "[" * 10_000 + "]" * 10_000 + ',"model":"m"}', None),
        ('{"tokens":{}', None),
        ("{}{}", None),
        ("", None),
        ("null", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_json_is_decoded_whatever_wrote_it(logged: str, value: object, *, as_text: bool) -> None:
    found = decode(logged if as_text else logged.encode())
    if "[[" in logged:
        assert isinstance(found, dict)
        assert found["model"] == "m"
        return
    assert found == value
    shaped = decode(logged if as_text else logged.encode(), USAGE)
    want = value if isinstance(value, dict) else {}
    assert shaped == (Usage(want["tokens"], want.get("model")) if want else None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", LONG])
def test_what_is_no_number_costs_that_number_only(number: str) -> None:
    found = decode(f'[{{"bad":{number}}},{{"good":1}}]')
    assert verdict(count, found[0]["bad"]) == BAD
    assert verdict(money, found[0]["bad"]) == BAD
    assert text(found[0]["bad"]) is None
    assert instant(found[0]["bad"]) is None
    assert found[1] == {"good": 1}
    json.loads(values.encode(found))  # and can be stored
    msgspec.msgpack.encode(found)


def test_a_text_with_half_a_surrogate_is_decoded() -> None:
    assert decode('{"model":"\ud800"}') == {"model": "?"}
    assert decode(b'{"model":"\xff"}') == {"model": "�"}


def test_another_shape_is_no_value() -> None:
    assert decode(b'{"tokens":1}', msgspec.json.Decoder(list[int])) is None
    assert decode(b'["\\ud800"]', USAGE) is None


@pytest.mark.parametrize("opener", ["[", '{"a":', '[{"b":['])
@pytest.mark.parametrize("depth", [100, 980, 10_000])
def test_what_is_nested_too_deep_is_left_out_and_nothing_beside_it(opener: str, depth: int) -> None:
    closer = "".join({"[": "]", "{": "}"}[sign] for sign in reversed(opener) if sign in "[{")
    deep = opener * depth + "1" + closer * depth
    found = decode(f'[{{"n":1}},{deep},{{"n":"[{{"}},{deep},{{"n":3}}]')
    assert [found[0], found[2], found[4]] == [{"n": 1}, {"n": "[{"}, {"n": 3}]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '"\\"' * 100_000,
        '["' + '\\"' * 100_000,
        "[" * 9000 + '"',
        '{"a":1',
        "{'a':1}",
        r'{"a":\ud83d}',
    ],
)
def test_what_breaks_off_is_no_json_however_deep(content: str) -> None:
    assert decode(content) is None
    assert decode("[" * 2000 + content) is None


def test_a_value_is_read_from_where_it_begins() -> None:
    assert values.begins('{"a":1},{"b":"\\ud800"},{"c', 8) == ({"b": "?"}, 22)
    assert values.begins('{"a":1},{"c', 8) is None
    assert values.begins("[" * 5000, 0) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_no_value_raises(value: object) -> None:
    problems: list[str] = []
    found = count(value, problems)
    assert found is None or 0 <= found <= MAX_COUNT
    paid = money(value, problems)
    assert paid is None or 0 <= paid < 10**13
    assert text(value) is None or text(value) == value
    time = instant(value, problems)
    assert time is None or (time > DAY_ONE and time.tzinfo is UTC)
    values.uuid_time(value)


@given(st.text(st.characters()) | st.text("0123456789-:TZ+. eE,GMTNovThu"))
def test_no_text_raises(value: str) -> None:
    test_no_value_raises.hypothesis.inner_test(value)  # type: ignore[attr-defined] # of hypothesis
    decode(value)
    decode(value.encode("utf-8", "replace"))


@given(JSON)
def test_what_python_writes_is_read_again(value: object) -> None:
    """Python writes NaN, infinities and halves of surrogates without a word."""
    found = decode(json.dumps(value))
    assert found is not None or value is None
    msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("insufficient_quota", "insufficient_quota"),
        ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
        ("ThrottlingException", "ThrottlingException"),
        ("openai.RateLimitError", "openai.RateLimitError"),
        ("error_429", "error_429"),
        (1113, "1113"),
        (429, "429"),
        ("", None),
        (None, None),
        (True, None),
        ({"message": "no"}, None),
        ("Incorrect API key provided: sk-proj", None),
        ("sk-ant-api03-9fK2mQx7Zp", None),
        ("AKIA2E0A8F3B244C9986", None),
        ("9f86d081884c7d659a2feaa0c55ad015", None),
        ("x" * 1000, None),
        ("a_" * 1000, None),
    ],
)
def test_an_error_has_a_name_and_no_sentence(value: object, name: str | None) -> None:
    assert error_name(value) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("openai", "openai"),
        ("my company/vllm", "my company/vllm"),
        ("https://me:secret@llm.example:8000/v1?key=secret", "llm.example:8000"),
        ("https://llm.example?key=secret@other", "llm.example"),
        ("https://a:b@c@llm.example/", "llm.example"),
        ("http://", None),
        (" ", None),
        (5, None),
    ],
)
def test_of_an_address_in_place_of_a_provider_the_host_is_left(
    value: object, name: str | None
) -> None:
    assert party(value) == name
