"""Answers that begin with megabytes of content: told by their keys, read without the content."""

from __future__ import annotations

import gzip
import json
import re
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallybook.files.find import walk
from tallybook.files.read import read_file
from tallybook.files.skim import is_longer, skim
from tallybook.sources.pictures import LONG, shortened, without_pictures

PICTURE = "iVBORw0KGgo+/" * 30_000  # 390,000 characters of base64
PROSE = 'He said "no"; a backslash \\ and a line.\n' * 10_000
IMAGE = {"input_tokens": 20, "output_tokens": 272, "total_tokens": 292}
COLUMNS = ("record", "kind", "reported_input_tokens", "reported_output_tokens")


def events(*each: dict[str, Any]) -> str:
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in each)


PARTIAL = {"type": "image_generation.partial_image", "b64_json": PICTURE, "created_at": 1790000000}
DONE = {"type": "image_generation.completed", "b64_json": PICTURE, "created_at": 1790000000}
IMAGES = {"created": 1790000000, "data": [{"b64_json": PICTURE}, {"b64_json": PICTURE}]}
SORTED = {
    "content": [{"text": PROSE, "type": "text"}],
    "id": "msg_01B000000000000000000001",
    "model": "claude-sonnet-4-6",
    "role": "assistant",
    "type": "message",
    "usage": {"cache_read_input_tokens": 0, "input_tokens": 20, "output_tokens": 272},
}
CHAT = {
    "choices": [{"index": 0, "message": {"content": PROSE}}],
    "id": "chatcmpl-B00000000000000001",
    "model": "gpt-5.2",
    "object": "chat.completion",
    "usage": {"prompt_tokens": 20, "completion_tokens": 272, "total_tokens": 292},
}
GEMINI = {
    "candidates": [{"content": {"parts": [{"inlineData": {"data": PICTURE}}]}}],
    "modelVersion": "gemini-2.5-flash-image",
    "responseId": "B1",
    "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 272, "totalTokenCount": 292},
}
# A dump whose exchange begins with the picture that was sent along.
DUMP = {
    "request": {
        "body": {"messages": [{"content": PICTURE}], "model": "gpt-5.2"},
        "url": "https://api.openai.com/v1/chat/completions",
    },
    "response": {"body": json.dumps({**CHAT, "choices": []}), "status": 200},
}
WHOLE: list[dict[str, Any]] = [{**IMAGES, "usage": IMAGE}, SORTED, CHAT, GEMINI, DUMP]


def counted(path: Path) -> list[tuple[Any, ...]]:
    rows = read_file(path).to_pylist()
    return [tuple(row[name] for name in COLUMNS) for row in rows]


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("indent", [None, 1])
def test_an_answer_is_told_by_its_keys_wherever_they_stand(
    value: dict[str, Any], indent: int | None, tmp_path: Path
) -> None:
    (tmp_path / "answer.json").write_text(json.dumps(value, indent=indent), "utf-8")
    assert counted(tmp_path / "answer.json") == [(1, "call", 20, 272)]


def test_the_first_record_may_be_one_of_many(tmp_path: Path) -> None:
    lines = [
        json.dumps({**value, "id": f"id-of-the-answer-{n}-000000"})
        for n, value in enumerate(WHOLE[:4])
    ]
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "array.json").write_text(f"[{', '.join(lines)}]", "utf-8")
    for name in ("lines.jsonl.gz", "array.json"):
        assert counted(tmp_path / name) == [(n, "call", 20, 272) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_may_begin_with_a_picture(end: str, tmp_path: Path) -> None:
    stream = events(PARTIAL, PARTIAL, {**DONE, "usage": IMAGE}).replace("\n", end)
    (tmp_path / "stream.sse").write_bytes(stream.encode())
    assert counted(tmp_path / "stream.sse") == [(8, "call", 20, 272)]


def test_a_file_named_for_nothing_is_looked_at_as_well(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text(json.dumps(SORTED), "utf-8")
    (tmp_path / "prose.txt").write_text(json.dumps({"content": PROSE}), "utf-8")
    assert [path.name for path, _ in walk([tmp_path]).files] == ["answer.txt"]


def test_pictures_are_not_held(tmp_path: Path) -> None:
    """Of 40 MB of pictures before the counts not half is held at a time."""
    big = "iVBORw0KGgo+/AAA" * (5 << 18)
    path = tmp_path / "answer.json"
    path.write_text(
        f'{{"data": [{{"b64_json": "{big}"}}, {{"b64_json": "{big}"}}], '
        f'"created": 1790000000, "usage": {json.dumps(IMAGE)}}}'
    )
    assert path.stat().st_size > 40 << 20
    del big
    read_file(path)
    tracemalloc.start()
    rows = counted(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == [(1, "call", 20, 272)]
    assert most < 20 << 20


def test_answers_that_differ_in_their_pictures_are_two(tmp_path: Path) -> None:
    found = set()
    for name, picture in (("a", PICTURE), ("b", PICTURE[:-1] + "Q"), ("c", PICTURE)):
        value = {**IMAGES, "data": [{"b64_json": picture}], "usage": IMAGE}
        (tmp_path / name).write_text(json.dumps(value), "utf-8")
        (row,) = read_file(tmp_path / name).to_pylist()
        found.add(row["identity"])
    # In a file that begins with a short record, nothing is left out before it is read.
    value = {**IMAGES, "data": [{"b64_json": PICTURE}], "usage": IMAGE}
    (tmp_path / "d").write_text(f"{json.dumps({**CHAT, 'choices': []})}\n{json.dumps(value)}\n")
    found.add(read_file(tmp_path / "d").to_pylist()[1]["identity"])
    assert len(found) == 2


def test_a_record_that_ends_within_the_head_is_not_looked_at_again() -> None:
    short = json.dumps({**CHAT, "choices": []}).encode()
    assert not is_longer(short + b"\n" + b" " * 300_000)
    assert is_longer(json.dumps(SORTED).encode())
    assert not is_longer(b"a,b\n" * 100_000)


TEXTS = st.text('ab\\"/{}[]:, \n', max_size=700)


@settings(max_examples=40)
@given(
    st.recursive(
        TEXTS | st.integers() | st.none(), lambda v: st.lists(v) | st.dictionaries(TEXTS, v)
    ),
    st.integers(1, 50),
)
def test_a_skimmed_record_is_the_record_without_its_long_texts(value: object, size: int) -> None:
    text = json.dumps([{"v": value}]).encode()[1:-1]
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert json.loads(skim(pieces)) == without_long_texts({"v": value})


def without_long_texts(value: Any) -> Any:
    if isinstance(value, str):
        return "" if len(json.dumps(value)) > 302 else value
    if isinstance(value, list):
        return [without_long_texts(each) for each in value]
    if isinstance(value, dict):
        # Of two keys that become one the last holds, as in JSON.
        return {without_long_texts(key): without_long_texts(each) for key, each in value.items()}
    return value


RUNS = st.lists(
    st.tuples(
        st.sampled_from(['"', " ", ".", "\n"]),
        st.sampled_from([0, 1, 40, LONG // 2, LONG - 1, LONG, LONG + 9, 3 * LONG]),
    ),
    max_size=4,
)


@settings(max_examples=40)
@given(RUNS, st.lists(st.integers(0, 9 * LONG), max_size=4))
def test_long_runs_are_left_out_wherever_the_pieces_are_cut(
    runs: list[tuple[str, int]], cuts: list[int]
) -> None:
    content = "".join(sign + "A" * length for sign, length in runs).encode()
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[a:b] for a, b in pairwise(places)]
    short = b"".join(without_pictures(pieces))
    assert short == shortened(content) if len(content) >= LONG else short == content
    # What stands for a run in the place of its characters, the digest left out.
    said = re.sub(r"\[(\d+):[0-9a-f]{24}\]", r"[\1]", short.decode())
    assert said == "".join(sign + (f"[{n}]" if n >= LONG else "A" * n) for sign, n in runs)
