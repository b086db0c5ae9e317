"""The workers of a Dask cluster, which read logs that they see; alone in knowing Dask."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tallybook.errors import TallybookError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS: Final = 10.0
# A worker that was lost is back in a few seconds where somebody starts it again.
PATIENCE_SECONDS: Final = 60.0
_RETRIES: Final = 2
R = TypeVar("R")


class Build(NamedTuple):
    """Which program it is: two read alike where both are the same."""

    version: str
    digest: str


class _Call:
    """Work that is done by whoever unpickles it."""

    def __init__(self, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
        self._work, self._given = work, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._work, self._given


class Cluster(Executor):
    """The workers of a Dask cluster.

    Work is sent as bytes, so that only the worker which does it has to know what it is. Dask
    unpickles a task in its scheduler, which need not have this package, and in a worker before the
    task begins: one without the package then hangs instead of failing.
    """

    def __init__(self, client: Client, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._empty_since: float | None = None
        self._inner: Executor = client.get_executor(pure=False, retries=_RETRIES)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """As of any executor; there are no `kwargs`. Raises TallybookError for a scheduler gone."""
        assert not kwargs  # noqa: S101 - a bug of ours
        sent = pickle.dumps(_Call(fn, args))
        try:
            return self._inner.submit(pickle.loads, sent)
        except Exception as error:
            raise _gone(self._scheduler) from error

    def workers(self) -> int:
        """How many there are. Raises TallybookError where the scheduler is gone."""
        try:
            return len(self._client.nthreads())
        except Exception as error:
            raise _gone(self._scheduler) from error

    def result(self, future: Future[R]) -> R | None:
        """What came of work, None where the cluster could not do it.

        Raises TallybookError where the scheduler is gone, and what a worker raises of that sort.
        """
        try:
            return future.result()
        except TallybookError:
            raise
        except CancelledError as error:
            raise _gone(self._scheduler) from error
        except Exception:  # noqa: BLE001 - a worker was killed, or fails: done here, it tells itself
            return None

    def check(self) -> None:
        """Raise TallybookError where there has been no worker for a while."""
        if self.workers():
            self._empty_since = None
            return
        now = time.monotonic()
        self._empty_since = self._empty_since or now
        if now - self._empty_since >= PATIENCE_SECONDS:
            raise TallybookError(
                f"the Dask scheduler at {self._scheduler} has lost all its workers",
                hint=_start(self._scheduler),
            )


@contextmanager
def cluster(scheduler: str, build: Callable[[], Build]) -> Iterator[Cluster]:
    """The cluster of a scheduler at HOST:PORT, whose workers all are the `build` that is here.

    How it is spoken to (TLS, time-outs) is Dask's own configuration. Raises TallybookError.
    """
    from distributed import Client  # noqa: PLC0415 - takes 0.4 s

    with _unlogged():
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:
            words = str(error).partition("\n")[0]
            raise TallybookError(
                f"no Dask scheduler answers at {scheduler}: {words}",
                hint="`dask scheduler` starts one, and says its address",
            ) from error
        with client:
            try:
                found = client.run(build, on_error="return")
            except Exception as error:
                raise _gone(scheduler) from error
            check_builds(scheduler, build(), found)
            yield Cluster(client, scheduler)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Have Dask log nothing: it is told here, without tracebacks, by what it means."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def scratch() -> str:
    """A folder for what a worker writes aside; Dask clears it where the worker was killed."""
    from distributed import get_worker  # noqa: PLC0415 - is loaded in a worker

    folder: str = get_worker().local_directory
    return folder


def check_builds(scheduler: str, own: Build, found: Mapping[str, Build | Exception]) -> None:
    """Raise TallybookError where a worker is of another build, or where there is none."""
    if not found:
        raise TallybookError(
            f"the Dask scheduler at {scheduler} has no workers", hint=_start(scheduler)
        )
    for worker, theirs in sorted(found.items()):
        if theirs == own or isinstance(theirs, OSError):  # it was lost meanwhile
            continue
        if isinstance(theirs, Exception):
            raise TallybookError(
                f"the Dask worker {worker} cannot load tallybook {own.version}",
                hint="install the same tallybook for the workers, and start them again",
            )
        raise other_build(f"the Dask worker {worker}", own, theirs)


def other_build(who: str, own: Build, theirs: Build) -> TallybookError:
    """The error that a worker is not what it works for."""
    what = "another build of it" if theirs.version == own.version else f"tallybook {theirs.version}"
    return TallybookError(
        f"{who} has {what}, here is {own.version}",
        hint="install the same tallybook for the workers, and start them again",
    )


def _gone(scheduler: str) -> TallybookError:
    return TallybookError(
        f"the Dask scheduler at {scheduler} is gone",
        hint="nothing of this run is kept; run it again once the scheduler is back",
    )


def _start(scheduler: str) -> str:
    return f"`dask worker {scheduler} --nworkers -1` starts one a core"
