"""A broken line costs itself and nothing else, wherever it stands, in every format of lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallybook.files.file_names import logical_name
from tallybook.schema import Reported
from tallybook.sources import Source, claims
from tallybook.sources.lines import Head
from tests.test_fixtures import CASES, name
from tests.test_folds import claimed, rows_of

File = tuple[Source, Path, list[bytes]]

FORMATS = ("claude-code", "codex", "deer-flow", "responses", "symphony", "verifiers")
# Documents of several lines or none, and logs, which take lines of anybody's.
NO_LINES = re.compile(rb'\s*(?:\{\s*(?:\n|"session")|\[|(?!data:|event:)[^{\s])')
# Lines that end otherwise, and events that take several lines.
OTHER_LINES = re.compile(rb"\r(?!\n)|^data:.*\r?\n(?:event:.*\r?\n)*data:", re.MULTILINE)
LONGEST = 30_000  # bytes; what is longer says nothing more
UNENDED = (b'{"type":"assistant","message":{"usage":{"input_tok', b"words", b"[1]", b"[words] more")


def files(case: Path) -> Iterator[File]:
    """The files of lines of a case, each with its lines."""
    for source, path, data in claimed(case):
        is_other = source.whole(Head(data)) or NO_LINES.match(data) or path.suffix == ".log"
        if not is_other and not OTHER_LINES.search(data) and len(data) <= LONGEST:
            yield source, path, data.removesuffix(b"\n").split(b"\n")


# Half of the cases: they differ in what lines say, and little in how lines begin and end.
FILES = [
    pytest.param(file, id=f"{name(case)}/{file[1].name}")
    for case in CASES[::2]
    if case.parent.name in FORMATS and not case.name.startswith(("broken", "empty"))
    for file in list(files(case))[:1]
]


def said(file: File, lines: list[bytes], end: bytes = b"\n") -> dict[str, Reported]:
    """All rows of the lines, in no order."""
    source, path, _ = file
    data = b"\n".join(lines) + end
    assert claims(Head(data), logical_name(path).as_posix()) == [source.name]
    return {repr(row): row for rows in rows_of(source, path, [data]) for row in rows}


def verdicts(file: File, *broken: bytes, end: bytes = b"\n") -> Iterator[tuple[str, ...]]:
    """The problems of each line in the place of a blank one; every other row is as it was."""
    lines = file[2]
    for place in {0, len(lines) // 2, len(lines)} if end else {len(lines)}:
        blank = said(file, [*lines[:place], b"", *lines[place:]])
        for line in broken:
            rows = said(file, [*lines[:place], line, *lines[place:]], end)
            new = [row for text, row in rows.items() if text not in blank]
            assert not blank.keys() - rows.keys(), "something else is lost"
            assert {row.record for row in new} <= {place + 1}
            yield tuple(problem for row in new for problem in row.problems or ["a row"])


def longest(file: File) -> bytes:
    return max(file[2], key=len)


def cut(file: File) -> bytes:
    """Half a line, without what would look like its end."""
    line = longest(file)
    return line[: len(line) // 2].rstrip(b"} \r")


@pytest.mark.parametrize("file", FILES)
def test_a_line_without_its_end_is_one_bad_line_anywhere(file: File) -> None:
    words = UNENDED[len(longest(file)) % len(UNENDED)]
    assert set(verdicts(file, cut(file), words)) == {("bad-line",)}


@pytest.mark.parametrize("file", FILES)
def test_a_last_line_that_is_cut_off_is_torn(file: File) -> None:
    """So it is where it is cut behind an inner brace, which looks like its end."""
    line = longest(file).rstrip()
    brace = line.rfind(b"}", 0, -1) + 1
    inner = line[:brace] if brace else cut(file)
    assert set(verdicts(file, cut(file), inner, end=b"")) == {("torn-line",)}


@pytest.mark.parametrize("file", FILES)
def test_what_only_decoding_shows_to_be_broken_has_one_verdict_anywhere(file: File) -> None:
    """A line with both ends is decoded if it may state usage: no other line has a say in that.

    Lines that are not decoded tell where the sidechains in a session's own file end.
    """
    if b'"isSidechain":true' in longest(file):
        return
    for line in (longest(file) + b"}", cut(file) + longest(file)):
        assert len(set(verdicts(file, line))) == 1, line


@pytest.mark.parametrize("file", FILES[::3])
def test_broken_lines_are_the_same_wherever_the_file_is_cut_into_blocks(file: File) -> None:
    source, path, lines = file
    half, glued = cut(file), cut(file) + longest(file)
    data = [line + b"\n" for line in (half, *lines[:1], glued, *lines[1:], glued, half)]
    found = [rows_of(source, path, pieces, saved=True) for pieces in (data, [b"".join(data)])]
    apart, at_once = ({repr(row) for rows in part for row in rows} for part in found)
    assert apart == at_once
