"""The ledger is its user's alone, and nobody else's folder becomes one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.errors import UsageError
from tallybook.ledger.corrections import append_corrections, clear_corrections
from tallybook.ledger.folder import Folder
from tallybook.ledger.merging import merge
from tallybook.ledger.upkeep import compact, forget
from tallybook.pricing import rates as cache
from tallybook.tables import CORRECTIONS
from tests.ledger.homes import (
    document,
    home_of,
    opened,
    price_cache,
    put,
    session,
    told,
    transcript,
)

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="rights are kept in another way there")
OTHERS = 0o077


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture(params=[0o000, 0o077], ids=lambda mask: f"umask-{mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def rights(folder: Path) -> dict[str, int]:
    """The rights of a folder and of all in it."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def wide(folder: Path) -> dict[str, int]:
    """What is not just its owner's, or not even that."""
    return {
        path: found
        for path, found in rights(folder).items()
        if found != (0o700 if Path(path).is_dir() else 0o600)
    }


@POSIX
@pytest.mark.usefixtures("umask")
def test_whatever_the_umask_all_that_is_kept_is_the_users_alone(home: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "data" / "tallybook" / "ledger"
    run = [sys.executable, "-m", "tallybook", "usage-report", "--json", str(home)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
        "TALLYBOOK_LEDGER": str(ledger),
    }
    told(home, ledger)
    compact(ledger)
    _correct(ledger)
    put(transcript(home, 1), session(1, calls=9))
    _make_old(home)
    subprocess.run(run, capture_output=True, check=True, env=environment)
    merge(tmp_path / "other" / "ledger", ledger)
    kept = {path.suffix for path in ledger.rglob("*") if path.is_file()}
    assert {".parquet", ".sqlite", ".links", ".answer", ".watch"} <= kept
    assert wide(ledger.parent) == {}
    assert wide(tmp_path / "other") == {}


@POSIX
@pytest.mark.usefixtures("umask")
def test_the_prices_that_are_kept_are_too_and_asides_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "tallybook"
    monkeypatch.setattr(cache, "SHIPPED", tmp_path / "none")
    table = cache.load_table(folder)
    assert wide(folder.parent) == {}
    left = put(folder / f"rates.json.{dead()}-0123456789abcdef.aside", b"x")
    (folder / "rates.json").write_bytes(b"rubbish")
    assert cache.load_table(folder) == table
    assert not left.exists()
    assert wide(folder.parent) == {}


def _make_old(home: Path) -> None:
    """An answer is kept only where the logs have been at rest for a while."""
    for path in [*home.rglob("*"), home]:
        os.utime(path, (1_700_000_000, 1_700_000_000))


def _correct(ledger: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - here alone

    row = dict.fromkeys(CORRECTIONS.names) | {"call_id": "a", "direction": "input"}
    append_corrections(ledger, pa.Table.from_pylist([row], schema=CORRECTIONS))


@POSIX
@pytest.mark.usefixtures("much_is_read")
def test_what_is_read_aside_is_the_users_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large logs are read into a folder in the place for temporary ones, which all users share."""
    price_cache()  # made at its first use, and kept where temporary files are
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "aside"))
    before = os.umask(0)
    try:
        with opened(home, None):
            (folder,) = (tmp_path / "aside").iterdir()
            assert any(folder.iterdir())
            assert wide(folder) == {}
    finally:
        os.umask(before)


@POSIX
def test_a_ledger_that_others_could_read_is_closed_to_them_when_it_is_written(
    home: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "parent" / "ledger"
    told(home, ledger)
    for path in [ledger.parent, ledger, *ledger.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    elsewhere = put(tmp_path / "elsewhere", b"x")
    elsewhere.chmod(0o644)
    (ledger / "derived" / "a.links").symlink_to(elsewhere)
    told(home, ledger)
    assert {path for path in wide(ledger) if not Path(path).is_symlink()} == set()
    assert rights(elsewhere) == {str(elsewhere): 0o644}
    assert stat.S_IMODE(ledger.parent.stat().st_mode) == 0o755  # the ledger did not make it


@POSIX
def test_a_link_in_the_place_of_the_lock_is_not_followed(home: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    told(home, ledger)
    (ledger / "lock").unlink()
    (ledger / "lock").symlink_to(tmp_path / "made")
    with opened(home, ledger) as reading:
        assert document(reading) == told(home, None)
        assert any("cannot write the ledger" in note for note in reading.notes)
    assert not (tmp_path / "made").exists()


def dead() -> int:
    """The number of a run that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


class TestAsides:
    @pytest.fixture
    def ledger(self, home: Path, tmp_path: Path) -> Path:
        told(home, tmp_path / "ledger")
        return tmp_path / "ledger"

    @POSIX
    def test_of_killed_runs_are_swept(self, home: Path, ledger: Path) -> None:
        number = dead()
        names = {f"{number}-0123456789abcdef.aside", f"{'a' * 32}.answer.{number}.aside", "b.aside"}
        left = [put(ledger / folder / n, b"x") for folder in ("answers", "derived") for n in names]
        told(home, ledger)
        assert not any(path.exists() for path in left)

    def test_in_any_folder_are_swept_with_the_next_commit(self, home: Path, ledger: Path) -> None:
        folders = (ledger, *(ledger / n for n in ("parts", "answers", "derived")))
        left = [put(folder / "0123456789abcdef.aside", b"x") for folder in folders]
        put(transcript(home, 1), session(1, calls=9))
        told(home, ledger)
        assert not any(path.exists() for path in left)

    @pytest.mark.parametrize("mark", ["0123456789abcdef", "9999999999999999"])
    def test_of_a_run_that_still_writes_are_left_alone(
        self, home: Path, ledger: Path, mark: str
    ) -> None:
        name = f"{os.getppid()}-{mark}.aside"
        path = put(ledger / "answers" / name, b"x")
        told(home, ledger)
        assert path.exists()
        long_ago = time.time() - 7200  # whoever has that number now is another
        os.utime(path, (long_ago, long_ago))
        told(home, ledger)
        assert not path.exists()

    @POSIX
    def test_beside_what_is_exported_are_swept(self, home: Path, tmp_path: Path) -> None:
        number = dead()
        left = put(tmp_path / "out" / f".tallybook-{number}-0123456789abcdef.aside", b"x")
        others = [put(tmp_path / "out" / n, b"x") for n in ("a.aside", ".tallybook-notes.aside")]
        target = tmp_path / "out" / "calls.csv"
        arguments = ["export", str(target), str(home), "--no-ledger"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        assert sorted(target.parent.iterdir()) == sorted([target, *others])
        assert not left.exists()


@POSIX
@pytest.mark.parametrize(("before", "mask"), [(None, 0o022), (0o640, 0o000), (0o600, 0o022)])
def test_an_export_has_the_rights_of_any_file_or_of_the_one_before(
    home: Path, tmp_path: Path, before: int | None, mask: int
) -> None:
    target = tmp_path / "calls.csv"
    if before is not None:
        put(target, b"x").chmod(before)
    old = os.umask(mask)
    try:
        CliRunner().invoke(app, ["export", str(target), str(home), "--no-ledger"])
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == (0o644 if before is None else before)


class TestPlaces:
    def files(self, folder: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    @pytest.mark.parametrize(
        "name", ["notes.txt", "manifest.json", "parts/drawing.parquet", "answers/yes.txt", "sub/x"]
    )
    def test_a_folder_of_other_things_is_refused(
        self, home: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "mine"
        put(folder / name, b"x")
        folder.chmod(0o755)
        before = self.files(folder), rights(folder)
        report = ["usage-report", str(home)]
        done = CliRunner().invoke(app, [*report, "--ledger", str(folder)])
        assert done.exit_code == 2
        assert str(folder) in done.stderr
        assert "no ledger" in done.stderr
        monkeypatch.setenv("TALLYBOOK_LEDGER", str(folder))
        assert CliRunner().invoke(app, report).exit_code == 2
        assert CliRunner().invoke(app, ["backfill", "--apply", str(home)]).exit_code == 2
        for work in (compact, clear_corrections, lambda where: forget(where, home)):
            with pytest.raises(UsageError):
                work(folder)
        with pytest.raises(UsageError):
            told(home, folder)
        assert (self.files(folder), rights(folder)) == before

    def test_a_manifest_of_something_else_makes_no_ledger(self, home: Path, tmp_path: Path) -> None:
        put(tmp_path / "mine" / "manifest", b"Manifest-Version: 1.0\n")
        put(tmp_path / "mine" / "classes", b"x")
        with pytest.raises(UsageError, match="no ledger"):
            told(home, tmp_path / "mine")

    @pytest.mark.parametrize(
        "names",
        [
            [],
            ["lock"],
            ["lock", "parts/0123456789abcdef0123.aside", "answers/1-0123456789abcdef.aside"],
            [f"parts/{'a' * 32}.parquet", f"states/{'b' * 24}.states"],
            [".DS_Store"],
        ],
    )
    def test_an_empty_folder_or_one_of_a_killed_first_run_is_taken(
        self, home: Path, tmp_path: Path, names: list[str]
    ) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        for name in names:
            put(folder / name, b"x")
        with opened(home, folder) as reading:
            assert reading.notes == []
        assert (folder / "catalog.sqlite").exists()

    def test_what_the_user_puts_into_a_ledger_is_left_alone(
        self, home: Path, tmp_path: Path
    ) -> None:
        told(home, tmp_path / "ledger")
        names = ("README", "parts/README", "states/x", "derived/note.txt", "answers/a.json")
        left = [put(tmp_path / "ledger" / name, b"x") for name in names]
        put(transcript(home, 1), session(1, calls=9))
        told(home, tmp_path / "ledger")
        Folder(tmp_path / "ledger").clear()
        assert all(path.exists() for path in left)
