"""What an environment and a terminal ask for: width, colour, time zone, folders, progress."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from tallybook.errors import UsageError
from tallybook.files.regular import is_file, is_folder, is_there

Environment = Mapping[str, str]
_ZONE_FOLDER = "zoneinfo/"
_NO_ZONES = {"Factory", "localtime", "posixrules"}  # files beside the zones, known to few programs


def width(environment: Environment, stream: TextIO) -> int | None:
    """Cells of a line; None where nobody looks at lines: a pipe or file gets names whole."""
    columns = environment.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def colour(environment: Environment, stream: TextIO) -> bool:
    """Whether to colour: never with NO_COLOR, else with FORCE_COLOR or on a terminal."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def is_zone(name: str) -> bool:
    """Whether the name is one of the IANA database, in its spelling."""
    if name in _NO_ZONES:
        return False
    # The list of all zones opens each of their files, which would cost every run 4 ms.
    listed = name == "UTC" or any(_has_zone(Path(root), name) for root in zoneinfo.TZPATH)
    return listed or name in zoneinfo.available_timezones()


def _has_zone(folder: Path, name: str) -> bool:
    """Whether a folder of zones has one of the name, which some systems open in any spelling."""
    *regions, place = name.split("/")
    if regions and regions[0] in {"posix", "right"}:  # all of them once more, by other rules
        return False
    try:
        for part in (*regions, place):
            if not any(entry.name == part for entry in folder.iterdir()):
                return False
            folder /= part
        with folder.open("rb") as file:
            return file.read(4) == b"TZif"
    except OSError:
        return False


def machine_zone(environment: Environment, etc: Path = Path("/etc")) -> str:
    """The machine's zone by its IANA name; "UTC" where the machine does not tell a name."""
    told = environment.get("TZ", str(etc / "localtime")).removeprefix(":")
    linked = _linked_zone(Path(told)) if told.startswith("/") else ""
    written = told if "TZ" in environment else _line(etc / "timezone")
    zone = linked or (written if is_zone(written) else "UTC")
    return "UTC" if zone == "Etc/UTC" else zone


def cache_folder(home: Path) -> Path:
    """Where things may lie that can be made again."""
    return _own_folder("cache", home)


def ledger_folder(environment: Environment, home: Path, named: Path | None = None) -> Path:
    """Where what was read is kept: as named, by TALLYBOOK_LEDGER, or where data of users lies."""
    if named is not None or environment.get("TALLYBOOK_LEDGER"):
        return (named or Path(environment["TALLYBOOK_LEDGER"])).absolute()
    folder = _own_folder("data", home) / "ledger"
    # Where earlier versions kept it on a Mac, whatever the variables of XDG said.
    older = home / "Library" / "Application Support" / "tallybook" / "ledger"
    return older if is_folder(older) and not is_there(folder) else folder


def own_ledger(named: Path | None) -> Path:
    """The ledger of who runs the program. Raises UsageError."""
    return ledger_folder(os.environ, home_folder(os.environ), named)


def price_file(home: Path) -> Path | None:
    """The user's own prices in the place where settings lie; None where there are none."""
    path = _own_folder("config", home) / "prices.toml"
    return path if is_file(path) else None


def _own_folder(kind: Literal["cache", "data", "config"], home: Path) -> Path:
    """Our folder among those of the user for such things, by the rules of the platform."""
    from platformdirs import PlatformDirs

    folders = PlatformDirs("tallybook", appauthor=False)
    ours = {
        "cache": folders.user_cache_dir,
        "data": folders.user_data_dir,
        "config": folders.user_config_dir,
    }
    folder = Path(ours[kind])
    if folder.is_absolute():
        return folder
    # XDG has a relative path in one of its variables passed over; not every version does that.
    usual = {"cache": ".cache", "data": ".local/share", "config": ".config"}
    return home / usual[kind] / "tallybook"


def home_folder(environment: Environment) -> Path:
    """The user's home. Raises UsageError where there is none."""
    if environment.get("HOME") == "":  # libraries would take it for the root of the disk
        raise UsageError("HOME is empty", hint="unset it, or let it name your home folder")
    try:
        return Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError as error:
        raise UsageError("there is no home folder", hint="set HOME") from error


@contextmanager
def progress(stream: TextIO) -> Iterator[Callable[[int, int], None] | None]:
    """A bar that vanishes when done, fed with (bytes read, bytes in all); None off a terminal."""
    if not stream.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Refreshing by itself takes a thread, and a process with threads cannot fork its workers.
    with Progress(console=Console(file=stream), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, refresh=True)


def _linked_zone(path: Path) -> str:
    """`Europe/Berlin` for a link to `/usr/share/zoneinfo/Europe/Berlin`: no look-up, it is slow."""
    _, folder, name = os.path.realpath(path).rpartition(_ZONE_FOLDER)
    name = name.removeprefix("posix/").removeprefix("right/")
    return name if folder and is_there(path) and name not in _NO_ZONES else ""


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
