"""tallybook with the workers of a Dask cluster on this machine: two of them, and one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from distributed import LocalCluster

from .readers import Reader


@contextmanager
def by_workers(reader: Reader) -> Iterator[list[Reader]]:
    """The reader twice: as two workers read for it, and as one does. Their memory is not its."""
    with ExitStack() as stack:
        yield [
            replace(reader, name=name, arguments=_asking(reader, stack, workers))
            for name, workers in (("two Dask workers", 2), ("one Dask worker", 1))
        ]


def _asking(reader: Reader, stack: ExitStack, workers: int) -> Callable[[Path, bool], list[str]]:
    cluster = stack.enter_context(
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            memory_limit=0,
        )
    )
    engine = f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"
    return lambda scratch, warm: [*reader.arguments(scratch, warm), "--engine", engine]
