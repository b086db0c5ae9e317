from __future__ import annotations

import gc
import gzip
import io
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pytest

from tallybook.files import blocks as module
from tallybook.files.blocks import at_once, blocks, open_log
from tallybook.files.file_names import folders_of_copies, neighbours
from tallybook.files.find import walk
from tallybook.files.known_places import known_places, survey
from tallybook.files.read import FileReading
from tallybook.sources import sources
from tests.rows_of_files import read_files
from tests.test_fixtures import FIXTURES

LINES = b"".join(b'{"n":%d}\n' % number for number in range(5000))


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    stream = io.BytesIO(content)
    return blocks(lambda: stream.read(size))


@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_blocks_are_whole_lines_and_lose_nothing(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    found = list(pieces(LINES + b'{"torn', size))
    assert b"".join(found) == LINES + b'{"torn'
    assert all(block.endswith(b"\n") for block in found[:-1])


def test_a_byte_order_mark_is_left_out() -> None:
    assert b"".join(pieces(b"\xef\xbb\xbf" + LINES, 100)) == LINES


def test_an_endless_line_leaves_a_stub_and_the_lines_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 4000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    found = b"".join(pieces(b'{"a":1}\n{"' + b"x" * 20_000 + b'"}\n{"b":2}\n', 500)).split(b"\n")
    assert [found[0], found[2]] == [b'{"a":1}', b'{"b":2}']
    assert len(found[1]) < 6000


def read_all(path: Path) -> bytes:
    with open_log(path) as read:
        return b"".join(blocks(read))


def test_compression_is_told_by_the_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "plain-looking.jsonl"
    path.write_bytes(gzip.compress(LINES))
    assert read_all(path) == LINES
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(LINES)
    assert read_all(path) == LINES
    words = b"\x5f\x2a\x4d\x18\x04\x00\x00\x00size"  # as pzstd puts it in front of each frame
    path.write_bytes(words + path.read_bytes())
    assert read_all(path) == LINES


def test_what_precedes_the_damage_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    content = b"".join(b"%s\n" % os.urandom(30).hex().encode() for _ in range(9000))
    path.write_bytes(gzip.compress(content)[:-2000])
    got = b""
    with open_log(path) as read:
        pieces_read = blocks(read)
        while True:
            try:
                got += next(pieces_read)
            except EOFError:
                break
    assert len(got) > 100_000
    assert content.startswith(got)


def write(path: Path, content: bytes = LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path, _ in walk([root]).files]


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "a.jsonl")
    (tmp_path / "again").symlink_to(tmp_path / "logs")
    (tmp_path / "logs" / "loop").symlink_to(tmp_path)
    os.link(tmp_path / "logs" / "a.jsonl", tmp_path / "logs" / "b.jsonl")
    assert len(walk([tmp_path, tmp_path / "logs", tmp_path / "logs" / "a.jsonl"]).files) == 1


def test_a_folder_gives_the_files_that_some_source_may_know(tmp_path: Path) -> None:
    for name in (
        "b.jsonl.gz",
        "a.jsonl",
        "notes.md",
        "x/.claude/c.jsonl",
        "x/node_modules/d.jsonl",
    ):
        write(tmp_path / name)
    assert names(tmp_path) == ["a.jsonl", "b.jsonl.gz", "x/.claude/c.jsonl"]
    assert [path.name for path, _ in walk([tmp_path / "notes.md"]).files] == ["notes.md"]


def test_a_folder_that_is_named_like_one_of_a_tool_s_own_hides_no_logs(tmp_path: Path) -> None:
    session = "projects/-home-u-app/1027a0c4-7c1e-4b2d-9f27-000000000001"
    logs = ["memory/a.jsonl", "todos/a.jsonl", "tool-results/a.jsonl", "projects/x/memory/a.jsonl"]
    hidden = [
        f"{session}/tool-results/toolu_1.json",
        "projects/-home-u-app/memory/a.json",
        "projects/C--app/memory/a.json",
        ".claude/todos/a.json",
        "session/workflows/wf_1.json",
        "session/journal.jsonl",
    ]
    for name in [*logs, *hidden]:
        path = tmp_path / "memory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n", encoding="utf-8")
    found = [path.relative_to(tmp_path / "memory").as_posix() for path, _ in walk([tmp_path]).files]
    assert sorted(found) == sorted(logs)


def test_the_plain_file_stands_for_its_zstd_twin(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    write(tmp_path / "a.jsonl.zst")
    write(tmp_path / "b.jsonl.zst")
    assert names(tmp_path) == ["a.jsonl", "b.jsonl.zst"]


def test_environment_variables_replace_the_known_places(tmp_path: Path) -> None:
    assert known_places({}, tmp_path)["codex"] == [
        tmp_path / ".codex/sessions",
        tmp_path / ".codex/archived_sessions",
    ]
    (tmp_path / "one/sessions").mkdir(parents=True)
    named = known_places({"CODEX_HOME": f"{tmp_path}/one, {tmp_path}/two"}, tmp_path)["codex"]
    assert named == [
        tmp_path / "one/sessions",
        tmp_path / "one/archived_sessions",
        tmp_path / "two",
    ]


def test_both_claude_roots_are_known_and_xdg_moves_one(tmp_path: Path) -> None:
    plain = known_places({}, tmp_path)["claude-code"]
    assert tmp_path / ".config/claude/projects" in plain
    assert tmp_path / ".claude/projects" in plain
    moved = known_places({"XDG_CONFIG_HOME": f"{tmp_path}/xdg"}, tmp_path)["claude-code"]
    assert tmp_path / "xdg/claude/projects" in moved


def test_a_survey_counts_the_files_of_places_that_exist(tmp_path: Path) -> None:
    write(tmp_path / ".codex/sessions/2026/02/03/rollout-a.jsonl")
    codex = {each.name: each for each in survey({}, tmp_path)}["codex"]
    assert codex.found == [(str(tmp_path / ".codex/sessions"), 1)]


def test_workers_read_the_same_rows_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        write(tmp_path / f"{number}.jsonl", b'{"no source":%d}\n' % number * 200)
    files = walk([tmp_path]).files
    here = read_files(files)
    monkeypatch.setattr("tallybook.files.pool.POOL_BYTES", 0)
    steps: list[tuple[int, int]] = []
    assert read_files(files, lambda done, total: steps.append((done, total)), workers=2) == here
    assert steps[-1][0] == steps[-1][1] == sum(size for _, size in files)


def test_what_no_source_claims_is_a_located_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    rows = read_files([(path, 1)]).to_pylist()
    assert [(row["path"], row["record"], row["problems"]) for row in rows] == [
        (str(path), 0, ["unclaimed"])
    ]


def test_a_file_that_vanished_is_a_located_problem(tmp_path: Path) -> None:
    rows = read_files([(tmp_path / "gone.jsonl", 1)]).to_pylist()
    assert [row["problems"] for row in rows] == [["unreadable"]]


def test_only_a_small_plain_file_of_json_is_read_at_once(tmp_path: Path) -> None:
    """All else has something in front that is not content, or is no file, or more than is held."""
    line = b'{"n":1}\n'
    for content in (line, line[:-1], b"[" + line + b"]"):
        assert at_once(write(tmp_path / "a.jsonl", content)) == content
    for content in (b"", b"\n" + line, b"\xef\xbb\xbf" + line, gzip.compress(line), line * 10**4):
        assert at_once(write(tmp_path / "b.jsonl", content)) is None
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "gone", "b.jsonl/in"):
        assert at_once(tmp_path / name) is None


@pytest.mark.parametrize("more", [b"", b"2}\n"])
def test_a_file_that_changes_while_it_is_read_at_once_is_read_anew(
    more: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", b'{"n":1}\n{"n":')
    read = os.read

    def changed(file: int, most: int) -> bytes:
        path.write_bytes(path.read_bytes() + more if more else b'{"n":1}\n')
        return read(file, most)

    monkeypatch.setattr(os, "read", changed)
    assert at_once(path) is None


def test_an_empty_file_is_no_problem(tmp_path: Path) -> None:
    files = [(write(tmp_path / "a.jsonl", b""), 0), (write(tmp_path / "b.jsonl", b"\n \n"), 3)]
    assert read_files(files).num_rows == 0


def test_what_is_read_is_let_go_of_before_garbage_is_looked_for(tmp_path: Path) -> None:
    """Workers look for none while they read: they would hold the beginnings of all their files."""
    line = b'{"parentUuid":null,"isSidechain":false,"type":"user","sessionId":"a"}\n'
    path = write(tmp_path / "a.jsonl", line)
    list(FileReading(path))  # loads its reader
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(5):
            list(FileReading(path))
        after = len(gc.get_objects())
        assert after < before + 5
    finally:
        gc.enable()


def test_of_the_files_beside_a_log_the_first_that_is_there_describes_it(tmp_path: Path) -> None:
    line = b'{"example_id": 1, "prompt": [], "completion": [], "reward": 1.0}\n'
    path = write(tmp_path / "run" / "results.jsonl", line)
    write(tmp_path / "run" / "metadata.json", b'{"model": "last"}')
    assert read_files([(path, 1)])["model"].to_pylist() == ["last"]
    write(tmp_path / "run" / "configs" / "eval.json", b'{"model": "below"}')
    assert read_files([(path, 1)])["model"].to_pylist() == ["below"]
    write(tmp_path / "run" / "config.toml", b'model = "first"')
    assert read_files([(path, 1)])["model"].to_pylist() == ["first"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl.zst", pa.compress(LINES, "zstd", asbytes=True), ["unclaimed"]),
        ("a.jsonl.gz", gzip.compress(LINES), ["unclaimed"]),
        ("a.jsonl.zst", LINES, ["unreadable"]),
        ("a.jsonl.gz", LINES, ["unreadable"]),
    ],
)
def test_only_what_has_the_suffix_and_not_the_form_is_no_compressed_stream(
    tmp_path: Path, name: str, content: bytes, said: list[str]
) -> None:
    row = read_files([(write(tmp_path / name, content), 1)]).to_pylist()[0]
    assert row["problems"] == said
    assert ("not a ." in row["detail"]) == (said == ["unreadable"])


def test_a_source_states_the_names_of_all_logs_that_something_lies_beside() -> None:
    names = {path.name.removesuffix(".sql") for path in FIXTURES.rglob("*.*")}
    for source in sources().values():
        told = {name for name in names if neighbours(source, name)}
        if source.copies:
            told |= {name for name in names if folders_of_copies(name)}
        stated = {name for name in names if any(fnmatchcase(name, p) for p in source.accompanied)}
        assert stated == told, source.name
        assert bool(told) == bool(source.neighbour or source.copies), source.name
