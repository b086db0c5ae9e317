"""What one file can make the program hold in memory is bounded, whatever it unpacks to."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tallybook.files import blocks as module
from tallybook.files.blocks import MAX_DOCUMENT_BYTES, MAX_LINE_BYTES
from tallybook.files.pool import work_through
from tallybook.files.read import read_file
from tallybook.ledger.store import MANY_PARTS

MB = 1 << 20
# A program that has read nothing takes 60 MB.
_READ = """
import json, sys
from pathlib import Path
from tallybook.files.pool import work_through
from tallybook.files.read import read_file
from tallybook.ledger.store import MANY_PARTS
rows = read_file(Path(sys.argv[1])).to_pylist()
found = [[row["record"], row["problems"], row["detail"]] for row in rows]
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak.split()[1]) // 1024, len(rows), found[-3:]]))
"""
ANSWER = (
    b'{"id": "chatcmpl-1", "object": "chat.completion", "created": 1763640000, "model": "gpt-5",'
    b' "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}'
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")


def packed(path: Path, pieces: Iterable[bytes]) -> Path:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        for piece in pieces:
            stream.write(piece)
    return path


def blanks(megabytes: int) -> Iterator[bytes]:
    piece = b"\n" * MB
    return (piece for _ in range(megabytes))


def read_apart(path: Path) -> tuple[int, int, list[Any]]:
    """Peak of a process that reads the file in MB, how many rows it gave, the last of them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak, count, rows = json.loads(done.stdout)
    return peak, count, rows


@linux
def test_blank_lines_in_front_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.jsonl.zst", [*blanks(200), ANSWER, b"\n", ANSWER])
    peak, count, rows = read_apart(path)
    assert peak < 160
    assert (count, [row[0] for row in rows]) == (2, [200 * MB + 1, 200 * MB + 2])


@linux
def test_nothing_but_blank_lines_is_an_empty_file(tmp_path: Path) -> None:
    peak, count, _ = read_apart(packed(tmp_path / "a.jsonl.zst", blanks(200)))
    assert (peak < 120, count) == (True, 0)
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.writelines(blanks(20))
    assert read_file(path).num_rows == 0


@linux
@pytest.mark.parametrize("name", ["a.json.zst", "a.json"])
def test_a_document_that_is_too_long_is_told_and_not_held(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    length = (MAX_DOCUMENT_BYTES >> 20) + 40
    if name.endswith(".zst"):
        packed(path, [b"[", ANSWER, *blanks(length), b"]"])
    else:
        path.write_bytes(b"[" + ANSWER)
        with path.open("r+b") as stream:
            stream.truncate(length * MB)
    peak, _, rows = read_apart(path)
    assert rows == [[0, ["truncated"], "a document of more than 128 MB is not read"]]
    assert peak < MAX_DOCUMENT_BYTES / MB + 160


@linux
def test_a_line_that_is_too_long_costs_itself(tmp_path: Path) -> None:
    texts = (b"x" * MB for _ in range(250))
    line = [b'{"id": "chatcmpl-2", "text": "', *texts, b'"}\n']
    path = packed(tmp_path / "a.jsonl.zst", [ANSWER, b"\n", *line, ANSWER.replace(b"-1", b"-3")])
    peak, count, rows = read_apart(path)
    assert peak < MAX_LINE_BYTES / MB * 2 + 120
    assert (count, [(row[0], row[1]) for row in rows]) == (
        3,
        [(1, None), (2, ["bad-line"]), (3, None)],
    )


@linux
def test_the_longest_line_that_is_read_is_held_four_times_at_most(tmp_path: Path) -> None:
    text = b"x" * (MAX_LINE_BYTES - MB)
    line = ANSWER.replace(b'"choices": []', b'"choices": [{"message": {"content": "%s"}}]' % text)
    path = packed(tmp_path / "a.jsonl.zst", [line, b"\n", line.replace(b"-1", b"-2"), b"\n"])
    peak, count, rows = read_apart(path)
    assert peak < MAX_LINE_BYTES / MB * 4 + 100
    assert (count, [row[1] for row in rows]) == (2, [None, None])


def test_a_document_is_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    content = b"[" + ANSWER + b"," + ANSWER + b"]"
    path.write_bytes(content)
    monkeypatch.setattr(module, "BLOCK_BYTES", len(ANSWER) + 2)
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", len(content))
    assert read_file(path)["record"].to_pylist() == [1, 2]
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", len(content) - 1)
    assert read_file(path)["problems"].to_pylist() == [["truncated"]]


def test_many_small_files_make_few_groups_each_of_which_becomes_a_part() -> None:
    """More parts than a ledger keeps would be written anew at once, file by file."""
    found = list(work_through(len, range(20_000), [1] * 20_000, workers=1))
    assert len(found) < MANY_PARTS
    assert sum(count for _, count in found) == 20_000
    assert max(count for _, count in found) <= 2_048  # what is known of each is held till then
