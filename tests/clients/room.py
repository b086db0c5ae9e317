"""Where a client is installed and played: one temporary folder, and no process left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tests.clients.upstream import Upstream

# A client gets these alone of the bench's environment, so no key of the user's and no proxy.
_PASSED: Final = ("PATH", "LANG", "TERM", "TZ")
# What clients agreed upon for saying nothing to anybody.
_QUIET: Final = {"DO_NOT_TRACK": "1", "DISABLE_TELEMETRY": "1", "CI": "1", "NO_COLOR": "1"}
_LONGEST: Final = 120.0  # seconds that a client may take for one command


class NotPlayed(Exception):  # noqa: N818 - it is an outcome and not an error
    """Why a scenario, or a client, could not be played."""


@dataclass
class Room:
    """A temporary folder with the installed clients, their homes, and the stand-in provider."""

    folder: Path
    upstream: Upstream
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def home(self, name: str) -> Path:
        """Make the home folder of a player, with an empty folder `work` in it to work in."""
        home = self.folder / "homes" / name
        (home / "work").mkdir(parents=True, exist_ok=True)
        return home

    def npm(self, package: str, version: str, *, scripts: bool = True) -> Path:
        """Install a version of an npm package, with its install scripts; its folder of programs."""
        folder = self.folder / "installed" / f"{package.replace('/', '-')}-{version}"
        if not folder.exists():
            cache = str(self.folder / "npm")
            line = ["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier"]
            line += [] if scripts else ["--ignore-scripts"]
            line += ["--cache", cache, "--prefix", str(folder), f"{package}@{version}"]
            _install(line, folder)
            shutil.rmtree(cache, ignore_errors=True)
        return folder / "node_modules" / ".bin"

    def pip(self, package: str, version: str, *more: str, python: str = sys.executable) -> Path:
        """Install a version of a Python package into an environment; its folder of programs.

        `more` are other packages or options; `python` is the interpreter to run it with.
        """
        folder = self.folder / "installed" / f"{package}-{version}"
        if not folder.exists():
            _install([python, "-m", "venv", str(folder)], folder)
            line = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-cache-dir"]
            _install([*line, f"{package}=={version}", *more], folder)
        return folder / "bin"

    def run(
        self,
        line: Sequence[str | Path],
        home: Path,
        environment: Mapping[str, str],
        said: str | None = None,
        longest: float = _LONGEST,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client's command to its end, in the folder `work` of its home.

        One that does not end in time is ended with all that it started; its exit code is then -9.
        """
        process = self.start(line, home, environment)
        try:
            out, err = process.communicate(said, timeout=longest)
        except subprocess.TimeoutExpired:
            _end(process)
            out, err = process.communicate()
        return subprocess.CompletedProcess(list(line), process.returncode, out, err)

    def start(
        self,
        line: Sequence[str | Path],
        home: Path,
        environment: Mapping[str, str],
        out: IO[str] | int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a client's command; it and what it starts are ended with the room."""
        process = subprocess.Popen(
            [str(word) for word in line],
            cwd=home / "work",
            env={**_environment(home), **environment},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out if out != subprocess.PIPE else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def end(self) -> None:
        """End every process of the room, also those that left the session they were started in."""
        for process in self._running:
            _end(process)
        for stray in _at_home(self.folder):
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)


def latest(package: str, registry: str, python: str = sys.executable) -> str:
    """Ask the registry, `npm` or `pip`, for the newest version that runs with `python`."""
    line = ["npm", "view", package, "version"]
    if registry == "pip":
        line = [python, "-m", "pip", "index", "versions", package]
    done = subprocess.run(line, capture_output=True, text=True, timeout=_LONGEST, check=False)
    found = re.search(r"\d+(\.\d+)+\S*?(?=\)|$)", done.stdout.strip(), re.MULTILINE)
    if done.returncode or not found:
        raise NotPlayed(f"the registry does not say which version of {package} is the newest")
    return found[0]


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare it with others."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _environment(home: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    folders = {"HOME": home, "XDG_CONFIG_HOME": home / ".config", "XDG_DATA_HOME": home / ".local"}
    folders |= {"XDG_CACHE_HOME": home / ".cache", "TMPDIR": home}
    return {**passed, **_QUIET, **{name: str(folder) for name, folder in folders.items()}}


def _install(line: Sequence[str], folder: Path) -> None:
    done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotPlayed(f"not installed: {said[-1] if said else done.returncode}")


def _at_home(folder: Path) -> Iterator[int]:
    """The processes whose home lies in a folder; none where the machine does not say it."""
    home = f"HOME={folder}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(value.startswith(home) for value in _values(process)):
                yield int(process.name)


def _values(process: Path) -> list[bytes]:
    return (process / "environ").read_bytes().split(b"\0")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all of its session, also where the first of them has gone already."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
