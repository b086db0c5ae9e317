"""Settings of all tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main
import typer.testing
from hypothesis import HealthCheck, settings

from tallybook.errors import FAILURES
from tallybook.files import pool
from tallybook.pricing import rates
from tallybook.pricing.installed import installed_version
from tests.examples import TIMES, times
from tests.prices_once import prices_read_once

# What a reader raises fails the test, here and in every program that a test starts.
FAILURES.raised = True
os.environ["TALLYBOOK_RAISE"] = "1"

# There is a worker for each core already: threads that wait for each other took a quarter more.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
# As the program has it. The other engine hands each step from thread to thread: half as much again.
os.environ.setdefault("POLARS_ENGINE_AFFINITY", "in-memory")

# The tests start the program a hundred times, a quarter quicker where it was compiled before.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_OURS = ("pytest-of-", "fixture-", "prices-")  # folders that tests share or pytest makes
_TEMPORARY = pytest.StashKey[tuple[Path, str | None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--accept` writes the expected rows that are missing, to be read before they are kept."""
    parser.addoption("--accept", action="store_true", help="write missing expected.jsonl files")
    parser.addoption("--examples", default="1", help="try so many times as many made-up examples")


def pytest_configure(config: pytest.Config) -> None:
    """Let all that is temporary lie in one folder, also that of workers and started programs."""
    os.environ[TIMES] = config.getoption("examples")
    # A change is judged by the same examples everywhere; a seed, or more of them, tries others.
    same = config.getoption("--hypothesis-seed") is None and times() == 1
    # A stage's first example pays for what is loaded late, and a busy machine for everything.
    settings.register_profile(
        "house",
        deadline=None,
        max_examples=40 * times(),
        derandomize=same,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("house")
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="tallybook-tests-"))
        folder.chmod(0o1777)  # as any such folder: a test reads as a user who may do nothing else
        config.stash[_TEMPORARY] = folder, os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        _ship_rates()


def _ship_rates() -> None:
    """A checkout whose table of prices is another version's builds it once, and not in each run."""
    version = installed_version()
    if version is not None and rates._read(rates.SHIPPED, version) is None:
        rates.ship()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that went well and yet has left something that no test is known to share."""
    if _TEMPORARY in session.config.stash and exitstatus == pytest.ExitCode.OK:
        folder, _ = session.config.stash[_TEMPORARY]
        left = [path.name for path in folder.iterdir() if not path.name.startswith(_OURS)]
        if left:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(f"\nleft behind in the temporary folder: {', '.join(left)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder; `--basetemp=DIR` keeps what tests have written, to look at it."""
    if _TEMPORARY in config.stash:
        folder, before = config.stash[_TEMPORARY]
        shutil.rmtree(folder, ignore_errors=True)
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


@pytest.fixture(scope="session", autouse=True)
def prices_are_read_once() -> Iterator[None]:
    """A worker reads a table of prices once, as a run of the program does; a changed one again."""
    with prices_read_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def the_command_line_is_built_once() -> Iterator[None]:
    """Typer makes all commands anew of their functions whenever one is invoked in a test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def files_are_read_here() -> Iterator[None]:
    """All fixtures are files enough for processes, which take 2 s each to start beside polars."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pool, "POOL_BYTES", 1 << 30)
        yield


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> Iterator[None]:
    """No test takes the power away, and a killed run's files are whole for the system."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _handle: None)
        patched.setattr("tallybook.ledger.catalog._SYNCHRONOUS", "OFF")
        yield


@pytest.fixture
def failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it: what a reader raises costs its file, and is a problem of that."""
    monkeypatch.setattr(FAILURES, "raised", False)
    monkeypatch.delenv("TALLYBOOK_RAISE")
