"""Digests of the program and of its prices, by which what is kept is told from what is stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tallybook.ledger.question import Question
from tallybook.pricing.installed import corrections_digest, installed_version

PACKAGE: Final = Path(__file__).parent.parent
# All that a reader of logs can reach; a test reads from the imports that nothing is missing here.
READING: Final = (
    "dialects",
    "errors",
    "files",
    "names",
    "schema",
    "sources",
    "tables",
    "urls",
    "values",
    "wording",
)


def basis(question: Question) -> str:
    """Changes with what an answer depends on besides the logs."""
    listed = f"{installed_version()} {corrections_digest()} {question.prices_at}"
    own = f"{question.price_file} {_own_prices(question)!r}"
    return f"{code_digest()} {listed} {own}"


def _own_prices(question: Question) -> bytes:
    if question.price_file is None:
        return b""
    if question.price_file.suffix == ".toml":
        with suppress(OSError):  # which is told where it is read for its prices
            return question.price_file.read_bytes()
    from tallybook.files.price_file import read_price_file  # noqa: PLC0415 - loads the readers

    return read_price_file(question.price_file)


@cache
def code_digest(package: Path = PACKAGE) -> str:
    """Changes with the program itself, so that nothing older than it is taken for derived by it.

    Every run asks for it, so it looks at no content: 2 ms, where that would take 8. It tells one
    state of this machine's program from another, and says nothing of other machines.
    """
    facts = []
    for path in _modules(package):
        state = os.stat(path)  # noqa: PTH116 - of the fastest sort
        facts.append((path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))
    return blake2b(repr(sorted(facts)).encode(), digest_size=8).hexdigest()


@cache
def reading_digest(package: Path = PACKAGE) -> str:
    """Changes with the code that reads logs; the same code has the same one on every machine.

    It is of the content, for ledgers are carried from machine to machine and outlive programs. One
    for all sources: which of them claims a file depends on every other. Asked for where a ledger is
    opened, it costs 4 ms of the 800 that the least question takes then.
    """
    return _content_digest(package, READING)


@cache
def working_digest() -> str:
    """Changes with the code that a worker needs to read for another machine."""
    return _content_digest(PACKAGE, (*READING, "ledger", "private", "__init__"))


def _content_digest(package: Path, rooms: tuple[str, ...]) -> str:
    digest = blake2b(digest_size=16)
    for room in rooms:
        for path in sorted(_modules(package / room), key=_slashed):
            content = Path(path).read_bytes().replace(b"\r\n", b"\n")
            name = _slashed(path).removeprefix(_slashed(str(package)))
            digest.update(b"%s %d\n" % (name.encode(), len(content)))
            digest.update(content)
    return digest.hexdigest()


def _slashed(path: str) -> str:
    return path.replace(os.sep, "/")


def _modules(room: Path) -> Iterator[str]:
    """Paths of the modules of a package, or of the one module of that name."""
    if not room.is_dir():
        yield f"{room}.py"
        return
    for folder, folders, names in os.walk(room):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))  # noqa: PTH118
