"""Clusters of Dask, and what may be wrong with their workers. These load it: it loads little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dask
from distributed import LocalCluster
from msgspec.structs import replace

from tallybook.files import find, read
from tallybook.files.engine import Engine
from tallybook.files.find import Found
from tallybook.ledger import afar


class Workers(NamedTuple):
    client: Any
    engine: Engine

    def do(self, work: Callable[..., object], *given: object) -> None:
        """Change something in all of them."""
        self.client.run(work, *given)


def local(folder: Path, **more: Any) -> LocalCluster:
    """A cluster on this machine, by TCP as any other; `folder` is for what it writes."""
    dask.config.set(temporary_directory=str(folder))
    return LocalCluster(
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=":0",
        local_directory=str(folder),
        memory_limit=0,
        threads_per_worker=1,
        **more,
    )


def engine(scheduler: LocalCluster) -> Engine:
    return Engine(scheduler=scheduler.scheduler_address.removeprefix("tcp://"))


BEFORE: dict[str, Any] = {}


def patch(module: Any, name: str, value: object) -> None:
    """In a worker: until `as_before` is called there."""
    BEFORE.setdefault(name, (module, getattr(module, name)))
    setattr(module, name, value)


def as_before() -> None:
    for name, (module, value) in BEFORE.items():
        setattr(module, name, value)
    BEFORE.clear()


def without(name: str) -> None:
    """Let a worker lack the files of a name."""
    look = find.look

    def found(path: str) -> Found:
        if name in path:
            raise FileNotFoundError(2, "No such file or directory", path)
        return look(path)

    patch(afar, "look", found)


def another(name: str) -> None:
    """Let a worker have others of the name, of the same size."""
    look = find.look

    def found(path: str) -> Found:
        here = look(path)
        return replace(here, mtime_ns=here.mtime_ns + 1) if name in path else here

    patch(afar, "look", found)


def unreadable() -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    patch(read, "at_once", lambda _: None)
    patch(read, "open_log", refuse)


def of_version(version: str) -> None:
    patch(afar, "__version__", version)


def full() -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    patch(afar, "TemporaryDirectory", refuse)
