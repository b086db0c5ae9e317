"""What must hold for the reading fold of every source, tried on every fixture file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from tallybook.files.blocks import DAMAGE, blocks, open_log
from tallybook.files.file_names import logical_name
from tallybook.files.find import walk
from tallybook.sources import FileFacts, Source, claims, marked, sniffed, sources
from tallybook.sources.contract import Rows
from tallybook.sources.lines import Head
from tallybook.tables import table
from tests.built import built
from tests.examples import times
from tests.test_fixtures import CASES, FIXTURES, name

CUTS = 16 * times()  # `python -m tests.campaign cut` goes on for as long as is asked


def content(path: Path) -> bytes:
    read_so_far = bytearray()
    try:
        with open_log(path) as read:
            for block in blocks(read):
                read_so_far += block
    except DAMAGE:
        pass
    return bytes(read_so_far)


def rows_of(
    source: Source, path: Path, pieces: Iterable[bytes], *, saved: bool = False
) -> list[Rows]:
    """The rows of each piece, and of the end."""
    state = source.begin(FileFacts(parts=logical_name(path).parts[-6:]))
    found = []
    for piece in pieces:
        rows, state = source.read(piece, state)
        found.append(rows)
        if saved:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state))
    return [*found, source.finish(state)]


def together(found: Sequence[Rows]) -> pa.Table:
    loose = [row for rows in found if not isinstance(rows, pa.Table) for row in rows]
    return pa.concat_tables([table(loose), *(rows for rows in found if isinstance(rows, pa.Table))])


def fold(source: Source, path: Path, pieces: Iterable[bytes], *, saved: bool = False) -> pa.Table:
    return together(rows_of(source, path, pieces, saved=saved))


def claimed(case: Path) -> list[tuple[Source, Path, bytes]]:
    files = ((path, content(path)) for path, _ in walk([built(case)]).files)
    found = (
        (claims(Head(data), logical_name(path).as_posix()), path, data) for path, data in files
    )
    return [(sources()[names[0]], path, data) for names, path, data in found if names]


def test_a_mark_is_of_one_source_which_the_lines_tell_as_well() -> None:
    """So a file that begins with it is known without a look at them."""
    known = []
    for case in CASES:
        for path, _ in walk([built(case)]).files:
            head = Head(content(path))
            if names := marked(head):
                assert names == sniffed(head), path
                known += names
    assert set(known) == {name for name, source in sources().items() if source.mark}
    assert len(known) > 200


@pytest.mark.parametrize(
    "line",
    [
        # Qwen Code, Gemini CLI, a response that quotes a transcript, a Codex item of another kind
        b'{"uuid":"a","parentUuid":null,"sessionId":"b","timestamp":"c","type":"user"}',
        b'{"sessionId":"a","projectHash":"b","messages":[]}',
        b'{"text":{"parentUuid":null,"isSidechain":false,"sessionId":"a"}}',
        b'{"timestamp":"2026-01-01T00:00:00Z","type":"response_item","payload":{}}',
        b'{"parentUuid":null,"isSidechain":false,\n"sessionId":"a"}',
    ],
)
def test_what_others_may_begin_with_is_no_mark(line: bytes) -> None:
    assert marked(Head(line)) == []


@pytest.mark.parametrize("case", CASES, ids=name)
def test_cutting_at_line_ends_and_saving_the_state_changes_nothing(case: Path) -> None:
    for source, path, data in claimed(case):
        pieces = [line + b"\n" for line in data.split(b"\n")]
        pieces[-1] = pieces[-1][:-1]
        if source.whole(Head(data)):
            pieces = [data]
        assert fold(source, path, pieces, saved=True) == fold(source, path, [data]), path


@pytest.mark.parametrize("case", CASES, ids=name)
def test_cutting_the_bytes_anywhere_never_raises(case: Path) -> None:
    for source, path, data in claimed(case):
        made: list[Rows] = []
        for cut in range(1, len(data), max(len(data) // CUTS, 1)):
            made += rows_of(source, path, [data[:cut]])
            made += rows_of(source, path, [data[cut:]])
        together(made)


@pytest.mark.parametrize("source", sources())
def test_a_block_of_blank_lines_counts_them_as_lines_among_others_do(source: str) -> None:
    """The rows may come in another order, but stand at the same records."""
    blank = b"\n \n\r\n"
    for found, path, first, rest in in_lines(source):
        apart = fold(found, path, [blank, first, blank, rest])
        assert apart == fold(found, path, [blank + first + blank + rest]), path


@pytest.mark.parametrize("source", sources())
def test_blank_lines_are_passed_over_at_once(source: str) -> None:
    """So gigabytes of them, which are packed into a few KB, cost no more than to unpack them."""
    for found, path, first, rest in in_lines(source):
        for blank in (b"\n" * 50_000, b" \t\r\n" * 50_000):
            assert calls(found, path, first + blank + rest) < 50_000, path


def in_lines(source: str) -> Iterator[tuple[Source, Path, bytes, bytes]]:
    """The first line and the others of each log in lines that is a source's."""
    tried = 0
    for case in (case for case in CASES if case.parent.name == source):
        for found, path, data in claimed(case):
            begin = data.find(b"\n") + 1
            if found.name == source and not found.whole(Head(data)) and 0 < begin < len(data):
                tried += 1
                yield found, path, data[:begin], data[begin:]
    assert tried or source == "9router"


def calls(source: Source, path: Path, data: bytes) -> int:
    """How many functions are called in reading it."""
    count = 0

    def add(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event.endswith("call")

    sys.setprofile(add)
    try:
        rows_of(source, path, [data])
    finally:
        sys.setprofile(None)
    return count


DEEP = b'"deep":' + b"[" * 10_000 + b"]" * 10_000 + b","
LONG = b'"long":' + b"9" * 5000 + b","
HALF = b'"half":"\\ud83d","none":NaN,"much":1e999,'
ODD_CASES = (
    "9router/usage-json-first-builds",
    "claude-code/headless-pretty-printed",
    "claude-code/headless-stream-json",
    "claude-code/headless-verbose-array",
    "claude-code/line-per-block",
    "codex/model-change",
    "deer-flow/jsonl-events",
    "responses/openai-chat",
    "symphony/ledger-beside-states",
    "symphony/state-openai",
    "verifiers/v1-3-call-records",
)


@pytest.mark.parametrize("odd", [DEEP, LONG, HALF], ids=["deep", "long", "half"])
@pytest.mark.parametrize("case", [case for case in CASES if name(case) in ODD_CASES], ids=name)
def test_what_no_decoder_takes_beside_the_counts_costs_nothing(case: Path, odd: bytes) -> None:
    """Each object at the beginning of a line gets a member more, which no row is made of."""
    first = re.compile(rb'^(\[?\s*\{\s*)(?="(?!history"))', re.MULTILINE)  # 9router's is told by it
    for source, path, data in claimed(case):
        changed = first.sub(lambda begin: begin[1] + odd, data)
        assert changed != data, path
        assert claims(Head(changed), logical_name(path).as_posix()) == [source.name], path
        assert fold(source, path, [changed]) == fold(source, path, [data]), path


ESCAPED_CASES = (
    "claude-code/headless-stream-json",
    "claude-code/line-per-block",
    "claude-code/progress-copy",
    "codex/model-change",
    "codex/exec-json",
    "deer-flow/gateway-log-json",
    "deer-flow/jsonl-events",
    "responses/openai-chat-streams",
    "symphony/audit-a1-codex",
    "symphony/broken-audit-lines",
    "symphony/ledger-beside-states",
    "verifiers/v0-b-metrics-of-inner-models",
    "verifiers/v1-3-call-records",
    "verifiers/v1-uploaded-beside-its-traces",
)
TEXT = re.compile(rb'"([^"\\\n]*+)"')
LETTER = re.compile(rb"[A-Za-z_]")


def with_escapes(line: bytes) -> bytes:
    """The same JSON; of each text without escapes the first letter is written as one."""

    def escaped(found: re.Match[bytes]) -> bytes:
        return b'"' + LETTER.sub(lambda letter: b"\\u%04x" % ord(letter[0]), found[1], 1) + b'"'

    is_plain = line[:1] == b"{" and line.rstrip()[-1:] == b"}" and b"\\" not in line
    return TEXT.sub(escaped, line) if is_plain else line


@pytest.mark.parametrize("case", ESCAPED_CASES)
def test_a_key_or_a_word_that_is_written_with_escapes_is_the_same(case: str) -> None:
    tried = 0
    for source, path, data in claimed(FIXTURES / case):
        changed = b"\n".join(map(with_escapes, data.split(b"\n")))
        if source.whole(Head(data)) or changed == data:
            continue
        tried += 1
        assert claims(Head(changed), logical_name(path).as_posix()) == [source.name], path
        assert fold(source, path, [changed]) == fold(source, path, [data]), path
    assert tried
