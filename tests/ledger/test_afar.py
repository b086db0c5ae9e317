"""Logs are read by the workers of a Dask cluster, and the answer is the same."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest
from distributed import Client
from msgspec.structs import replace
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.errors import TallybookError
from tallybook.files import cluster, pool
from tallybook.files.engine import HERE, Engine
from tallybook.files.find import Found, walk
from tallybook.files.objects import ObjectState
from tallybook.ledger import afar
from tallybook.ledger.gather import gather
from tallybook.ledger.open import with_usage
from tallybook.ledger.question import Question
from tallybook.ledger.reading import Reading
from tallybook.ledger.store import Store
from tests.built import built
from tests.ledger import workers as workers_that
from tests.ledger.homes import asked, document, home_of, put, session, totals, transcript
from tests.ledger.workers import Workers, engine, local
from tests.test_fixtures import CASES

# `home_of` writes sessions of 3, 4, 5, … calls.
CALLS = sum(range(3, 19))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """A cluster of two processes."""
    with (
        local(tmp_path_factory.mktemp("dask"), n_workers=2, processes=True) as scheduler,
        Client(scheduler, set_as_default=False) as client,
    ):
        yield Workers(client, engine(scheduler))


@pytest.fixture
def workers(two: Workers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """The cluster, which reads files of any size in several groups."""
    monkeypatch.setattr(pool, "_LEAST_BYTES", 1)
    yield two
    two.do(workers_that.as_before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return home_of(tmp_path_factory.mktemp("afar") / "home", sessions=16)


@pytest.fixture(scope="module")
def here(home: Path) -> str:
    """What is said of it where it is read here."""
    return told(home, None, HERE)


def question(home: Path, ledger: Path | None, who: Engine) -> Question:
    return replace(asked(home, ledger), engine=who)


def told(home: Path, ledger: Path | None, who: Engine, progress: Any = None) -> str:
    return with_usage(question(home, ledger, who), document, progress)


def notes(home: Path, ledger: Path | None, who: Engine) -> list[str]:
    return with_usage(question(home, ledger, who), lambda reading: list(reading.notes))


def counts(home: Path, ledger: Path, who: Engine) -> tuple[str, int, int, int]:
    """What is answered, and how many files were unchanged, read afresh and continued for it."""

    def work(reading: Reading) -> tuple[str, int, int, int]:
        found = reading.counts
        return document(reading), found.unchanged, found.read, found.continued

    return with_usage(question(home, ledger, who), work)


def test_all_formats_read_alike_wherever_they_are_read(workers: Workers) -> None:
    found = walk(map(built, CASES[::8])).found
    here = gather(found, "code", None).table
    there = afar.Afar(str(workers.engine.scheduler), "code", Store([]))
    sizes = [each.size for each in found]
    tables = [each.table for _, each in there.gathered(found, sizes, None, lambda: None)]
    assert (there.left, len(tables) > 2) == ([], True)
    assert by_place(pa.concat_tables(tables)) == by_place(here)


def by_place(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows in the order of their files; those of a file keep theirs."""
    found = sorted(rows.drop_columns("file_id").to_pylist(), key=lambda row: str(row["path"]))
    assert len(found) > 50
    return found


def test_a_ledger_that_a_cluster_fills_is_like_one_filled_here(
    tmp_path: Path, workers: Workers
) -> None:
    home = home_of(tmp_path / "home", sessions=16)
    there, here = tmp_path / "there", tmp_path / "here"
    first = counts(home, here, HERE)
    assert counts(home, there, workers.engine) == first
    assert (totals(first[0])["calls"], *first[1:]) == (CALLS, 0, 16, 0)
    # Each goes on with what the other has kept: the states of readers came back as well.
    with transcript(home, 1).open("ab") as log:
        log.write(session(1, calls=5)[len(session(1, calls=3)) :])
    put(transcript(home, 20), session(20, calls=7))
    later = counts(home, there, HERE)
    assert (totals(later[0])["calls"], *later[1:]) == (CALLS + 2 + 7, 15, 1, 1)
    assert counts(home, here, workers.engine) == later
    # Nothing but what is named is left, and no aside file of any machine.
    assert not [path for path in there.rglob("*") if path.suffix == ".aside"]


def test_workers_do_read(home: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody else."""
    monkeypatch.setattr("tallybook.ledger.refresh.gather", None)
    assert totals(told(home, None, workers.engine))["calls"] == CALLS
    assert notes(home, None, workers.engine) == []


@pytest.mark.parametrize("change", [workers_that.without, workers_that.another])
def test_a_file_that_workers_do_not_see_as_it_is_here_is_read_here(
    change: Callable[..., None], home: Path, here: str, tmp_path: Path, workers: Workers
) -> None:
    """It is neither empty nor changed, and what was known of it stays."""
    ledger = tmp_path / "ledger"
    workers.do(change, transcript(home, 3).name)
    assert told(home, ledger, workers.engine) == here
    assert counts(home, ledger, HERE)[1:] == (16, 0, 0)
    (note,) = notes(home, None, workers.engine)
    assert note.startswith("1 file read here: for the workers of 127.0.0.1:")


@pytest.mark.parametrize("fault", [workers_that.unreadable, workers_that.full])
def test_what_workers_cannot_read_is_read_here(
    fault: Callable[..., None], home: Path, here: str, tmp_path: Path, workers: Workers
) -> None:
    workers.do(fault)
    assert told(home, tmp_path / "ledger", workers.engine) == here
    assert notes(home, tmp_path / "other", workers.engine)[0].startswith("16 files read here")


def test_a_worker_that_is_lost_costs_work_and_no_number(
    home: Path, here: str, tmp_path: Path, workers: Workers
) -> None:
    victims = sorted(workers.client.run(os.getpid).values())[:1]

    def kill(_done: int, _all: int) -> None:
        while victims:
            os.kill(victims.pop(), signal.SIGKILL)

    assert told(home, tmp_path / "ledger", workers.engine, kill) == here
    assert victims == []
    workers.client.wait_for_workers(2, timeout=30)


def test_a_worker_of_another_version_is_told(home: Path, tmp_path: Path, workers: Workers) -> None:
    workers.do(workers_that.of_version, "0.0.9")
    with pytest.raises(TallybookError, match=r"Dask worker tcp://\S+ has tallybook 0\.0\.9, here"):
        told(home, tmp_path / "ledger", workers.engine)


def test_one_of_another_version_that_comes_later_is_told(
    home: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "check_builds", lambda *_: None)
    workers.do(workers_that.of_version, "0.0.9")
    with pytest.raises(TallybookError, match=r"a Dask worker has tallybook 0\.0\.9, here is"):
        told(home, None, workers.engine)


def test_other_code_of_the_same_version_is_told() -> None:
    own, other = cluster.Build("1.0", "a"), cluster.Build("1.0", "b")
    with pytest.raises(TallybookError, match=r"worker tcp://b has another build of it"):
        cluster.check_builds("h:1", own, {"tcp://a": own, "tcp://b": other})
    with pytest.raises(TallybookError, match=r"worker tcp://b cannot load tallybook 1\.0"):
        cluster.check_builds("h:1", own, {"tcp://b": ModuleNotFoundError("tallybook")})
    cluster.check_builds("h:1", own, {"tcp://a": own, "tcp://b": OSError("it was lost")})


def test_a_scheduler_that_goes_is_told_and_leaves_the_ledger_as_it_was(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_LEAST_BYTES", 1)
    monkeypatch.setattr(pool, "_TASKS_PER_WORKER", 1)
    monkeypatch.setattr(pool, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    ledger = tmp_path / "ledger"
    with (
        local(tmp_path, n_workers=1, processes=False) as scheduler,
        pytest.raises(TallybookError, match=r"Dask scheduler at 127\.0\.0\.1:\d+ is gone"),
    ):
        told(home, ledger, engine(scheduler), lambda *_: scheduler.close())
    assert list((ledger / "parts").iterdir()) == []
    assert counts(home, ledger, HERE)[1:] == (0, 16, 0)


def test_a_scheduler_that_goes_between_two_tasks_is_told(
    home: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask has an error of its own for each of its calls, some of which are the system's."""
    for name in ("run", "submit", "nthreads"):
        with monkeypatch.context() as patched:
            patched.setattr(Client, name, _closed)
            with pytest.raises(TallybookError, match="is gone"):
                told(home, None, workers.engine)


def _closed(*_: object, **__: object) -> None:
    raise OSError("in <TCP (closed)>: Stream is closed")


def test_a_cluster_without_workers_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_LEAST_BYTES", 1)
    monkeypatch.setattr(pool, "_TASKS_PER_WORKER", 1)
    monkeypatch.setattr(pool, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.1)
    with local(tmp_path, n_workers=1, processes=False) as scheduler:
        with pytest.raises(TallybookError, match=r"has lost all its workers"):
            told(home, None, engine(scheduler), lambda *_: scheduler.scale(0))
        with pytest.raises(TallybookError, match=r"127\.0\.0\.1:\d+ has no workers"):
            told(home, None, engine(scheduler))


def run(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv("TALLYBOOK_LEDGER", raising=False)
    return CliRunner().invoke(app, [*arguments])


def test_the_command_answers_alike_whoever_reads(
    home: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data and words."""
    asked_for = ["usage-report", "--no-ledger", "--json", str(home)]
    plain = run(home, monkeypatch, *asked_for)
    assert plain.exit_code == 0
    for who in ("local:1", "local:2", f"dask://{workers.engine.scheduler}"):
        done = run(home, monkeypatch, *asked_for, "--engine", who)
        assert (done.exit_code, done.stdout, done.stderr) == (0, plain.stdout, plain.stderr)


def test_as_many_processes_read_as_are_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[int | None] = []
    through = pool.work_through

    def noted(*given: Any, **named: Any) -> Any:
        asked_for.append(given[4])
        return through(*given, **named)

    monkeypatch.setattr("tallybook.files.pool.work_through", noted)
    for number, who in enumerate([(), ("--engine", "local:1"), ("--engine", "local:3")]):
        ledger = str(tmp_path / f"ledger{number}")
        done = run(home, monkeypatch, "usage-report", str(home), "--ledger", ledger, *who)
        assert done.exit_code == 0
    assert asked_for == [None, 1, 3]


@pytest.mark.parametrize(
    "text",
    ["", "local", "local:", "local:0", "local:-1", "local:2.5", "dask://", "dask://h", "dask://:1",
     "dask://me:secret@h:8786", "tcp://h:8786", "dask://h:8786/x"],
)  # fmt: skip
def test_an_engine_that_there_is_not_is_wrong_usage(
    text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(home, monkeypatch, "usage-report", "--no-ledger", "--engine", text, str(home))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "dask://HOST:8786" in done.stderr
    assert "secret" not in done.stderr


def test_without_dask_the_extra_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ["usage-report", "--no-ledger", "--engine", "dask://h:8786", str(home)]
    done = run(home, monkeypatch, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "pip install 'tallybook[dask]'" in done.stderr


def test_a_scheduler_that_does_not_answer_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    arguments = ["usage-report", "--engine", "dask://127.0.0.1:9", str(home), "--no-ledger"]
    done = run(home, monkeypatch, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no Dask scheduler answers at 127.0.0.1:9" in done.stderr


def test_objects_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look takes a way there and back; here all four wait for the last of them."""
    meeting = Barrier(4, timeout=20)

    def look(_: str) -> ObjectState:
        meeting.wait()
        raise FileNotFoundError

    monkeypatch.setattr("tallybook.files.objects.look", look)
    listed = [Found(f"s3://logs/{n}.jsonl", 1, 1, 0, 0) for n in range(4)]
    sent = afar.gather_afar(listed, afar.build(), "code", on_disk=False, kept=False)
    assert sent.numbers == []
