"""Tells by the name of a file what it may be: a log, compressed, one beside another, no log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from tallybook.errors import FAILURES
from tallybook.sources import Source, sources
from tallybook.urls import joined

_GZIP, ZSTD = ".gz", ".zst"
COMPRESSED = (_GZIP, ZSTD)
join: Final = os.path.join if os.sep == "/" else joined  # on Windows not so of a URL
_USUAL: Final = (".jsonl", ".json")
# A database's rows that are committed and not carried over yet.
WRITE_AHEAD = "-wal"
# What follows the last dot of a name is its suffix if it can be a word; else it has none.
_WORD: Final = re.compile(r"[A-Za-z][\w-]{0,15}", re.ASCII)
Matcher = Callable[[str], object]  # true where a name fits
_PLAIN: Final = re.compile(r"[^*?\[]+")  # a pattern, or its end, that stands for itself


def compression_of(name: str) -> str:
    """The suffix that says how a file is compressed, as the name has it; empty for none."""
    end = name[-len(ZSTD) :]
    suffix = end if end.lower() == ZSTD else end[-len(_GZIP) :]
    return suffix if suffix.lower() in COMPRESSED else ""


def logical_text(path: str) -> str:
    """The path without its compression suffix, with slashes; see `logical_name`."""
    if path.endswith(_USUAL):
        return _with_slashes(path)
    folder, name = os.path.split(path)
    return _with_slashes(join(folder, plain_name(name)))


def logical_name(path: Path) -> Path:
    """The path without its compression suffix, the suffix that is left in lower case."""
    plain = plain_name(path.name)
    return path if plain == path.name else path.with_name(plain)


def suffix_of(name: str) -> str:
    """What the end of a name says of its content, in lower case: `.log`; empty for nothing.

    A date, a number or a digest behind the last dot says nothing.
    """
    stem, _, suffix = name.rpartition(".")
    return _suffix(suffix) if stem else ""


@lru_cache(1024)
def _suffix(suffix: str) -> str:
    return f".{suffix.lower()}" if _WORD.fullmatch(suffix) else ""


def neighbours(source: Source, plain: str) -> tuple[str, ...]:
    """Where the small file beside a log of this plain name may lie, the likeliest first."""
    named = source.neighbour(plain) if source.neighbour else None
    return (named,) if isinstance(named, str) else tuple(named or ())


def folders_of_copies(plain: str) -> list[str]:
    """The folders beside a database of this plain name in which earlier states of it may lie."""
    named = (source.copies(plain) for source in _with_copies() if source.copies)
    return [folder for folder in named if folder]


def names_beside(name: str) -> list[str]:
    """What may lie beside a file of this name that says something about it."""
    if name.endswith(_USUAL) and not _accompanied()(name):
        return []  # nearly always
    return [*_named_beside(name)]


def _named_beside(name: str) -> Iterator[str]:
    plain = plain_name(name)
    for source in _with_neighbours():
        try:
            beside = neighbours(source, plain)
        except Exception:  # the reading meets it again, and says so
            if FAILURES.raised:
                raise
            continue
        yield from beside
    yield from folders_of_copies(plain)
    if not plain.endswith(_USUAL) and not compression_of(name):
        yield name + WRITE_AHEAD


@cache
def _with_neighbours() -> list[Source]:
    return [source for source in sources().values() if source.neighbour]


@cache
def _with_copies() -> list[Source]:
    return [source for source in sources().values() if source.copies]


@cache
def _accompanied() -> Matcher:
    """Tells whether something may lie beside a log of this plain name, for a source."""
    return _any_of(pattern for source in sources().values() for pattern in source.accompanied)


@cache
def names_of_logs() -> Matcher:
    """Tells whether a plain name is that of a log, and not of any sort of file."""
    patterns = {pattern for source in sources().values() for pattern in source.patterns}
    return _any_of(patterns - _quiet_patterns())


@cache
def names_of_any_file() -> Matcher:
    """Tells whether a plain name is that of any sort of file, logs among them."""
    return _any_of(_quiet_patterns())


def _quiet_patterns() -> set[str]:
    return {pattern for source in sources().values() for pattern in source.quiet}


def holds_no_logs(folder: str) -> bool:
    """Whether all files below a folder are known to hold no usage."""
    return bool(_ignored()[0](f"{_with_slashes(folder)}/"))


def is_ignored(folder: str, name: str) -> bool:
    """Whether a file of this plain name is known to hold no usage, wherever else it could be."""
    _, names, last_names, paths = _ignored()
    return bool(names(name) or (last_names(name) and paths(f"{_with_slashes(folder)}/{name}")))


@cache
def _ignored() -> tuple[Matcher, Matcher, Matcher, Matcher]:
    """What to ignore: whole folders, names, and paths with the names that these may end with.

    One source's metadata is no log of others. Few files need a look at their whole path, which
    takes longer than all else that is done with a file.
    """
    ignores = {ignored for source in sources().values() for ignored in source.ignores}
    names = {ignored for ignored in ignores if "/" not in ignored}
    folders = {ignored for ignored in ignores if ignored.endswith("/*")}
    paths = ignores - names - folders
    return (
        _any_of(f"*/{each}" for each in folders),
        _any_of(names),
        _any_of(each.rpartition("/")[2] for each in paths),
        _any_of(f"*/{each}" for each in paths),
    )


def _any_of(patterns: Iterable[str]) -> Matcher:
    """Tells whether a name fits any of them: by its end, or as a whole."""
    named = {_with_low_suffix(each) for each in patterns}
    ends = {each for each in named if each[:1] == "*" and _PLAIN.fullmatch(each, 1)}
    end = tuple(sorted(each[1:] for each in ends))
    found = "|".join(translate(each) for each in sorted(named - ends))
    if not found:
        return lambda name: name.endswith(end)
    fits = re.compile(found).match
    return lambda name: name.endswith(end) or fits(name)


def plain_name(name: str) -> str:
    """The name that patterns fit: not compressed, its suffix in lower case as most have it."""
    if name.endswith(_USUAL):
        return name  # nearly always
    return _with_low_suffix(name.removesuffix(compression_of(name)))


def _with_low_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem + dot + suffix.lower() if dot else name


def _with_slashes(path: str) -> str:
    return path.replace(os.sep, "/") if os.sep != "/" else path
