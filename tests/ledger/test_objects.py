"""Logs in object storage count as they do in a folder, are read once, and name no credential."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from msgspec.structs import replace
from typer.testing import CliRunner, Result

import tallybook
from tallybook.commands import app
from tallybook.files import objects, pool
from tallybook.ledger.open import with_usage
from tallybook.ledger.reading import Reading
from tallybook.sources import sources
from tallybook.urls import path_named
from tests.built import built
from tests.ledger.homes import FIXTURES, asked, coverage, document, session, told, totals
from tests.ledger.workers import engine, local

KEY, SECRET = "AKIAMADEUPKEY0000000", "made-up/secret+that+nobody+has"
CASES = (
    "9router/upgraded-twice",  # a database with earlier states of it beside
    "9router/details-json",
    "9router/broken-database",
    "claude-code/subagents-count",
    "claude-code/zstd",
    "responses/bedrock-invocation-log",
    "codex/fork-of-archived-zst",
    "deer-flow/jsonl-beside-database",
    "deer-flow/write-ahead-log",  # rows that the database alone does not have
    "symphony/one-run-in-every-record",
    "symphony/run-store-unflushed",
    "verifiers/v1-5-episodes-with-their-run",
    "verifiers/v1-mark-line-ends-and-gzip",
)
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_780_000_000,
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}
Run = Callable[..., Result]


class Storage:
    """Some storage to put objects into, and what was asked of it since."""

    def __init__(self, files: Any, url: str) -> None:
        self.files = files
        self.url = url
        self.opened: list[str] = []

    def put(self, name: str, content: bytes) -> str:
        url = f"{self.url}/{name}"
        self.files.pipe_file(url, content)
        return url

    def take(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path.relative_to(folder).as_posix(), path.read_bytes())


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    storage = Storage(fsspec.filesystem("memory"), f"memory://{uuid4().hex}")
    begin, cat = MemoryFileSystem._open, MemoryFileSystem.cat_file

    def opened(self: MemoryFileSystem, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb":
            storage.opened.append(path.rpartition("/")[2])
        return begin(self, path, mode, **more)

    def fetched(self: MemoryFileSystem, path: str, *more: Any, **given: Any) -> Any:
        storage.opened.append(path.rpartition("/")[2])
        return cat(self, path, *more, **given)

    monkeypatch.setattr(MemoryFileSystem, "_open", opened)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fetched)
    yield storage
    storage.files.store.clear()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - 0.3 s of each worker

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another address
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage = Storage(fsspec.filesystem("s3"), f"s3://{uuid4().hex}")
    storage.files.mkdir(storage.url)
    return storage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "ledger"))
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def report(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def calls(done: Result) -> int:
    found: int = report(done)["totals"]["calls"]
    return found


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Logs of all sources in a folder, not to be changed, and what is said of them there."""
    logs = tmp_path_factory.mktemp("folder") / "logs"
    for case in CASES:
        shutil.copytree(built(FIXTURES / case), logs / case)
    return logs, told(logs.parent, None, [logs])


@pytest.mark.parametrize("kind", ["memory", "bucket"])
def test_all_sources_say_the_same_in_a_folder_and_in_storage(
    kind: str, in_folder: tuple[Path, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With what lies beside them, packed, and as databases with their logs."""
    storage: Storage = request.getfixturevalue(kind)
    logs, here = in_folder
    storage.take(logs)
    assert {name.partition("/")[0] for name in CASES} == set(sources())
    assert told(tmp_path, None, [path_named(storage.url)]) == here.replace(str(logs), storage.url)


def test_a_second_look_opens_nothing(memory: Storage, run: Run) -> None:
    memory.put("a.jsonl", session(1))
    memory.put("b.jsonl.gz", gzip.compress(session(2)))
    assert calls(run("usage-report", "--json", memory.url)) == 6
    assert memory.opened == ["a.jsonl", "b.jsonl.gz"]
    assert calls(run("usage-report", "--json", memory.url)) == 6
    assert memory.opened == ["a.jsonl", "b.jsonl.gz"]


def test_what_may_be_any_file_is_looked_into_once(memory: Storage, run: Run) -> None:
    """A second look knows both the logs among such objects and those that are none."""
    memory.put("words.txt", b"not a log\n")
    memory.put("answer.txt", json.dumps(ANSWER).encode())
    memory.put("noise", b"neither")
    first = report(run("usage-report", "--json", memory.url))
    assert (first["totals"]["calls"], first["coverage"]["not_looked_at"]) == (1, {"": 1, ".txt": 1})
    opened = list(memory.opened)
    assert report(run("usage-report", "--json", memory.url)) == first
    assert memory.opened == opened
    memory.put("words.txt", json.dumps(ANSWER | {"id": "chatcmpl-2"}).encode())
    assert calls(run("usage-report", "--json", memory.url)) == 2


@pytest.mark.parametrize("kind", ["memory", "bucket"])
def test_an_object_that_changes_while_it_is_read_is_read_another_time(
    kind: str, request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first megabytes and its last ones might be of two states."""
    storage: Storage = request.getfixturevalue(kind)
    url = storage.put("a.jsonl", session(1) + b"\n" * (3 << 20))
    storage.put("b.jsonl", session(2))
    # As streams of most storages have it.
    details = property(lambda self: self.fs.info(self.path))
    monkeypatch.setattr(MemoryFile, "details", details, raising=False)
    read = objects.ObjectStream.read

    def replaced(self: objects.ObjectStream, size: int = -1, /) -> bytes:
        if self.tell() == 0:
            storage.put("a.jsonl", session(3) + b"\n" * (3 << 20))
        return read(self, size)

    with monkeypatch.context() as patched:
        patched.setattr(objects.ObjectStream, "read", replaced)
        (odd,) = report(run("usage-report", "--json", storage.url))["coverage"]["problem_list"]
    assert (odd["path"], odd["detail"]) == (url, "it changed while it was read")
    done = run("usage-report", "--json", "--by", "thread", storage.url)
    assert [row["thread_id"][:8] for row in report(done)["rows"]] == ["00000003", "00000002"]


def test_a_second_look_at_a_bucket_asks_for_a_listing_alone(
    bucket: Storage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a.jsonl", session(1))
    first = report(run("usage-report", "--json", bucket.url))
    asked_for: list[str] = []
    send = type(bucket.files)._call_s3

    async def sent(self: Any, method: str, *more: Any, **given: Any) -> Any:
        asked_for.append(method)
        return await send(self, method, *more, **given)

    monkeypatch.setattr(type(bucket.files), "_call_s3", sent)
    assert report(run("usage-report", "--json", bucket.url)) == first
    assert set(asked_for) == {"head_bucket", "list_objects_v2"}


def test_small_objects_are_fetched_together_by_one_request_each(
    bucket: Storage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 9):
        bucket.put(f"{number}.jsonl", session(number))
    bucket.put("notes.txt", b"no log")
    asked_for: list[str] = []
    under_way, most = 0, 0
    send = type(bucket.files)._call_s3

    async def sent(self: Any, method: str, *more: Any, **given: Any) -> Any:
        nonlocal under_way, most
        asked_for.append(method)
        under_way += 1
        most = max(most, under_way)
        try:
            return await send(self, method, *more, **given)
        finally:
            under_way -= 1

    monkeypatch.setattr(type(bucket.files), "_call_s3", sent)
    assert calls(run("usage-report", "--json", bucket.url)) == 24
    assert (asked_for.count("get_object"), asked_for.count("head_object")) == (9, 0)
    assert most == 8
    assert objects._FETCHED == {}


def test_an_object_of_the_same_size_and_another_content_is_read_anew(
    bucket: Storage, run: Run
) -> None:
    bucket.put("a.jsonl", session(1))
    assert (
        report(run("usage-report", "--json", bucket.url))["totals"]["cached_input_tokens"] == 6000
    )
    bucket.put(
        "a.jsonl", session(1).replace(b'read_input_tokens": 3000', b'read_input_tokens": 4000')
    )
    assert (
        report(run("usage-report", "--json", bucket.url))["totals"]["cached_input_tokens"] == 7000
    )


@pytest.mark.parametrize("kept", [True, False])
def test_a_grown_object_is_read_from_where_it_ended_if_it_begins_as_it_did(
    memory: Storage, tmp_path: Path, kept: bool
) -> None:
    paths = [path_named(memory.put("a.jsonl", session(1, 3)))]
    told(tmp_path, tmp_path / "ledger", paths)
    memory.put("a.jsonl", session(1, 5) if kept else session(2, 5))

    def counted(reading: Reading) -> tuple[int, int, int]:
        rows = json.loads(document(reading))[1]["calls"]
        return reading.counts.continued, reading.counts.read, rows

    found = with_usage(asked(tmp_path, tmp_path / "ledger", paths), counted)
    assert found == ((1, 0, 5) if kept else (0, 1, 5))


def test_an_object_that_is_deleted_stays_counted_as_gone(memory: Storage, tmp_path: Path) -> None:
    memory.put("a.jsonl", session(1))
    gone = memory.put("b.jsonl", session(2))
    paths = [path_named(memory.url)]
    told(tmp_path, tmp_path / "ledger", paths)
    memory.files.rm(gone)
    found = told(tmp_path, tmp_path / "ledger", paths)
    assert (totals(found)["calls"], coverage(found)["gone"]) == (6, 1)
    assert memory.opened == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (FileNotFoundError("b.jsonl"), "the object is not there"),
        (PermissionError(f"{KEY} has no rights"), "access to it is refused"),
        (ValueError(f"https://host/b.jsonl?X-Amz-Signature={SECRET}"), "fails: ValueError"),
    ],
)
def test_an_object_that_cannot_be_read_costs_itself_alone(
    memory: Storage,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    raised: Exception,
    words: str,
) -> None:
    memory.put("a.jsonl", session(1))
    lost = memory.put("b.jsonl", session(2))
    begin = MemoryFileSystem._open

    def refused(self: MemoryFileSystem, path: str, *more: Any, **given: Any) -> Any:
        if path.endswith("b.jsonl"):
            raise raised
        return begin(self, path, *more, **given)

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "_open", refused)
        patched.setattr(MemoryFileSystem, "cat_file", refused)
        done = run("usage-report", "--json", "--problems", tmp_path / "all.jsonl", memory.url)
    assert calls(done) == 3
    (told_of,) = map(json.loads, (tmp_path / "all.jsonl").read_text("utf-8").splitlines())
    assert (told_of["path"], told_of["code"]) == (lost, "unreadable")
    assert told_of["detail"].endswith(words)
    shown = (done.stdout + done.stderr).encode() + kept(tmp_path)
    assert SECRET.encode() not in shown
    assert KEY.encode() not in shown
    assert calls(run("usage-report", "--json", memory.url)) == 6  # it is tried again


def kept(folder: Path) -> bytes:
    """All that lies below a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_credential_of_the_environment_is_kept_or_shown(
    bucket: Storage, run: Run, tmp_path: Path
) -> None:
    bucket.put("a.jsonl", session(1))
    done = run("usage-report", "--json", "-o", tmp_path / "page.html", bucket.url)
    more = run("export", tmp_path / "calls.jsonl", bucket.url)
    assert (done.exit_code, more.exit_code) == (0, 0)
    shown = (done.stdout + done.stderr + more.stderr).encode() + kept(tmp_path)
    assert bucket.url.encode() in shown
    assert not [each for each in (KEY, SECRET) if each.encode() in shown]


def test_a_bucket_that_is_not_there_is_as_a_path_that_is_not(bucket: Storage, run: Run) -> None:
    for url in ("s3://no-such-bucket/logs", f"{bucket.url}/no/such/folder"):
        done = run("usage-report", url)
        assert (done.exit_code, done.stderr) == (2, f"error: there is no {url}\n")


def test_a_bucket_that_is_closed_is_one_problem_and_nothing_in_it_is_gone(
    memory: Storage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(session(1))
    memory.put("b.jsonl", session(2))
    assert calls(run("usage-report", "--json", log, memory.url)) == 6

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(SECRET)

    for closed in ("find", "info"):
        monkeypatch.setattr(MemoryFileSystem, closed, refused)
        done = run("usage-report", "--json", log, memory.url)
        assert calls(done) == 3
        (told_of,) = report(done)["coverage"]["problem_list"]
        assert (told_of["path"], told_of["detail"]) == (memory.url, "access to it is refused")
        assert report(run("usage-report", "--json", "--all"))["coverage"]["gone"] == 0


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{KEY}:secret@bucket/logs",
        f"s3://{KEY}:sec/ret@bucket/logs",
        "az://container/a.jsonl?sig=secret&se=2027",
        "https://bucket.s3.amazonaws.com/a.jsonl?X-Amz-Signature=secret",
        "simplecache::s3://me:secret@bucket/logs",
    ],
)
def test_a_url_with_a_credential_is_refused_and_not_shown(run: Run, url: str) -> None:
    done = run("usage-report", url)
    assert done.exit_code == 2
    assert not [
        each for each in ("sec", "ret@", KEY) if each in done.stderr.replace("secret one", "")
    ]


@pytest.mark.parametrize("url", ["s3://", "s3:///logs", "gs:///logs", "s3a:///logs", "az:///logs"])
def test_a_url_without_a_bucket_is_refused(run: Run, url: str) -> None:
    done = run("usage-report", url)
    assert (done.exit_code, "without a bucket" in done.stderr) == (2, True)


@pytest.mark.parametrize("option", ["-o", "--ledger", "--prices", "--problems"])
def test_only_logs_are_named_by_a_url(run: Run, tmp_path: Path, option: str) -> None:
    done = run("usage-report", option, f"s3://{KEY}:secret@bucket/file.csv", tmp_path)
    words = f"error: {option} is of this machine, and takes no URL\n"
    assert (done.exit_code, done.stderr) == (2, words)


def test_what_is_not_installed_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    done = run("usage-report", "s3://bucket/logs")
    assert done.exit_code == 2
    assert "pip install 'tallybook[remote]'" in done.stderr
    monkeypatch.undo()
    done = run("usage-report", "no-such-storage://bucket/logs")
    assert (done.exit_code, "no storage is known by no-such-storage://" in done.stderr) == (2, True)


def test_a_file_url_is_the_file(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "a log.jsonl"
    log.write_bytes(session(1))
    one = report(run("usage-report", "--json", log.as_uri()))
    assert report(run("usage-report", "--json", log)) == one


def test_a_call_is_explained_from_its_object_until_that_is_gone(memory: Storage, run: Run) -> None:
    url = memory.put("a.jsonl", session(1))
    memory.put("b.jsonl", session(2))

    def explained(*more: str) -> dict[str, Any]:
        found = report(run("explain", "--json", "00000001", *more))["rows"][0]
        assert (found["path"], found["record"]) == (url, 3)  # the dearest comes first
        log: dict[str, Any] = found["log"]
        return log

    assert explained(memory.url)["usage"][0]["usage"]["cache_read_input_tokens"] == 3000
    memory.files.rm(url)
    assert explained(memory.url)["words"] == "the log is gone"
    opened = list(memory.opened)
    assert explained("--all")["state"] == "unread"
    assert memory.opened == opened  # who names no URL opens no network


def test_without_a_url_no_storage_is_looked_at(
    memory: Storage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("a.jsonl", session(1))
    assert calls(run("usage-report", "--json", memory.url)) == 3
    monkeypatch.setattr(fsspec.core, "url_to_fs", None)
    assert calls(run("usage-report", "--json", "--all")) == 3
    assert run("ledger", "verify").exit_code == 0
    assert run("ledger", "forget", memory.url).exit_code == 0
    assert report(run("usage-report", "--json", "--all"))["coverage"]["files"] == 0


def test_no_object_is_written_to(memory: Storage, run: Run) -> None:
    done = run("backfill", "--apply", "--in-place", memory.url)
    assert (done.exit_code, f"and {memory.url} is none" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["a//b/./c.jsonl", "x/\\x41.jsonl", "d e?.jsonl", "é/[1]*.jsonl"])
def test_a_key_may_be_what_no_path_can(bucket: Storage, tmp_path: Path, name: str) -> None:
    bucket.put(name, session(1))
    found = told(tmp_path, tmp_path / "ledger", [path_named(bucket.url)])
    assert (totals(found)["calls"], coverage(found)["problems"]) == (3, {})


def test_an_object_may_have_the_name_of_a_folder(bucket: Storage, tmp_path: Path) -> None:
    paths = [path_named(bucket.url)]
    url = bucket.put("a.jsonl", session(1))
    bucket.put("a.jsonl/b.jsonl", session(2))
    ledger = tmp_path / "ledger"
    assert totals(told(tmp_path, ledger, paths))["calls"] == 6
    assert totals(told(tmp_path, ledger, [path_named(url)]))["calls"] == 3
    assert coverage(told(tmp_path, ledger, paths))["gone"] == 0


def test_an_object_is_the_same_for_every_machine(memory: Storage, run: Run, tmp_path: Path) -> None:
    memory.put("a.jsonl", session(1))
    other = tmp_path / "other"
    assert calls(run("usage-report", "--json", "--ledger", other, memory.url)) == 3
    merged = run("ledger", "merge", other)
    assert (merged.exit_code, "1 file taken over" in merged.stderr) == (0, True)
    found = report(run("usage-report", "--json", "--all"))["coverage"]
    assert (found["files"], found["gone"], found["calls"]) == (1, 0, 3)
    found = report(run("usage-report", "--json", memory.url))["coverage"]
    assert (found["files"], found["gone"], found["calls"]) == (1, 0, 3)


def test_in_python_a_path_is_a_url_too(memory: Storage, tmp_path: Path) -> None:
    memory.put("a.jsonl", session(1))
    assert tallybook.usage(memory.url, ledger=False)["calls"].to_list() == [3]
    (path,) = tallybook.calls([memory.url], ledger=False).collect()["path"].unique()
    assert path == f"{memory.url}/a.jsonl"


def test_workers_open_objects_themselves(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 5):
        bucket.put(f"{number}.jsonl", session(number))
    monkeypatch.setattr(pool, "POOL_BYTES", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(objects, "open_object", None)  # which is so in this process alone
    found = told(tmp_path, tmp_path / "ledger", [path_named(bucket.url)])
    assert (totals(found)["calls"], coverage(found)["problems"]) == (12, {})


def test_workers_of_a_cluster_read_the_objects_that_are_meant(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another storage of theirs may have objects of the same names: these are read here."""
    bucket.put("logs/a.jsonl", session(1, calls=3))
    bucket.put("logs/b.jsonl", session(2, calls=4))
    asking = asked(tmp_path, None, [path_named(f"{bucket.url}/logs")])
    here = with_usage(asking, document)
    with local(tmp_path, n_workers=1, processes=False) as scheduler:
        asking = replace(asking, engine=engine(scheduler))
        with monkeypatch.context() as patched:
            patched.setattr("tallybook.ledger.refresh.gather", None)
            assert with_usage(asking, document) == here
        state = objects.look(f"{bucket.url}/logs/a.jsonl")
        other = SimpleNamespace(look=lambda _: state)
        monkeypatch.setattr("tallybook.ledger.afar.objects", other)
        assert with_usage(asking, document) == here
        (note,) = with_usage(asking, lambda reading: list(reading.notes))
        assert note.startswith("1 file read here")
