"""What a log format has to provide: the `Source` value, and what a reader is told of its file."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from tallybook.schema import Reported
from tallybook.sources.lines import Head

if TYPE_CHECKING:
    import pyarrow as pa

# As they are read, or in columns where there are very many of them, in the REPORTED schema.
Rows: TypeAlias = "Sequence[Reported] | pa.Table"
Unpack: TypeAlias = "Callable[[bytes], Any]"  # raises ValueError
Tables = Mapping[str, frozenset[str]]  # table (or view) of a database -> its columns


def never(_: object) -> bool:
    """Claim nothing."""
    return False


class Later:
    """A function of a module that is loaded at the first call, so that naming a source is cheap."""

    __slots__ = ("_found", "_name", "module")

    def __init__(self, module: str, name: str) -> None:
        self.module, self._name = module, name
        self._found: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function makes of the arguments."""
        return (self._found or self.found())(*arguments)

    def found(self) -> Callable[..., Any]:
        """The function itself."""
        self._found = found = getattr(importlib.import_module(self.module), self._name)
        return cast("Callable[..., Any]", found)


class Location(msgspec.Struct, frozen=True):
    """Folders where a tool keeps its logs.

    `variable` names an environment variable with a comma-separated list of roots that replaces
    `roots`. Roots may begin with `~/` or `$XDG_CONFIG_HOME/`. `folders` are looked for below each
    root; where a root that the user named has none of them, the root itself is searched.
    """

    variable: str | None
    roots: tuple[str, ...]
    folders: tuple[str, ...] = ()


class FileFacts(msgspec.Struct, frozen=True):
    """What a file's name and its small neighbour say; the reader itself never sees a path."""

    parts: tuple[str, ...] = ()  # last folders and the file name, compression suffix removed
    neighbour: bytes | None = None  # content of the file that `Source.neighbour` named
    # Of the folders that `Source.copies` named, by name, what `Source.glance` saw in the database
    # of the same name as the file's; nothing where there is none, or it cannot be read.
    copies: tuple[tuple[str, bytes], ...] = ()


class Source(msgspec.Struct, frozen=True):
    """A log format. Functions are pure: no path, clock, environment or configuration.

    `begin(facts)` gives the first state; `read(block, state)` takes whole lines (the last block of
    a file may lack its line end) and returns its rows with the next state;
    `finish(state)` returns the rows that only the end of the file can tell. A state is a
    `msgspec.Struct`, small and serialisable. Where `whole(head)` says that a file is one document,
    `read` gets it in one block.

    A format that keeps databases claims them by their tables with `recognise`; `query` then reads
    from a connection that can neither write nor lock, and yields rows in bounded numbers.

    Most runs meet few of the formats, so a source names its functions as `Later`.
    """

    name: str
    title: str
    locations: tuple[Location, ...]
    patterns: tuple[str, ...]  # file names worth a look, e.g. "*.jsonl"
    sniff: Callable[[Head], bool]
    begin: Callable[[FileFacts], Any]
    read: Callable[[bytes, Any], tuple[Rows, Any]]
    finish: Callable[[Any], Sequence[Reported]]
    # A regular expression of first bytes that no other format begins with, for what most files of
    # its tool begin with: such a file is known without a look at its lines by every source.
    mark: bytes = b""
    owns: tuple[str, ...] = ()  # path globs of files that are its own, whatever they hold
    quiet: tuple[str, ...] = ()  # patterns that fit any sort of file: unclaimed ones are no problem
    ignores: tuple[str, ...] = ()  # path globs of neighbours that hold no usage, e.g. "*.meta.json"
    # File name -> where the file beside it may be, relative to its folder; the first is taken.
    neighbour: Callable[[str], str | Sequence[str] | None] | None = None
    neighbour_bytes: int = 64 << 10  # as much of it as is read
    # Patterns of all names that `neighbour` and `copies` know something for. Others are not told
    # to them: asking four sources about each of very many files takes as long as finding it.
    accompanied: tuple[str, ...] = ()
    # Names of documents and line files whose records bear ids of their own however often they are
    # written: what is taken out of one can be told, as it can of a database, and a ledger keeps it.
    own_ids: tuple[str, ...] = ()
    # File name -> the folder beside a database in which earlier states of it are kept, each in a
    # folder of its own; and what is to be known of one, short and without an end of its own.
    copies: Callable[[str], str | None] | None = None
    glance: Callable[[sqlite3.Connection], bytes] | None = None
    whole: Callable[[Head], bool] = never
    # Fields of a state that may hold a piece of the log itself. Such a state is used and never
    # kept: once the file has grown, it is read again from its beginning.
    holds: tuple[str, ...] = ()
    # Its records may hold pictures, and are read without them where one stands in front.
    has_pictures: bool = False
    recognise: Callable[[Tables], bool] = never
    query: Callable[[sqlite3.Connection, FileFacts], Iterator[Rows]] | None = None
    # Beginnings of the names of folders and files whose copy of a record yields to any other.
    archives: tuple[str, ...] = ()
    # Where the record of a row is found again: the lists of a document whose entries are records,
    # and the tables of a database by the first word of the row's `part` ("" where it has none). A
    # table that the part names itself need not be told.
    lists: tuple[str, ...] = ()
    tables: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unpack: Unpack | None = None  # makes of a cell what it holds, where that is no JSON
    # What is to be known of its rows where a call is held against what may fill it:
    # it wrote a zero where it had dropped a count, and folded the cache into the prompt twice;
    false_zeros: bool = False
    # it adds to the prompt of an answer that it passes on, up to so many tokens, and keeps that;
    prompt_surplus: int | None = None
    # it states what its sessions used so far, and what the last response of each agent took;
    states_totals: bool = False
    # its stored answers are events of the run itself, no answers of a provider;
    keeps_events: bool = False
    # and the path of a stored answer tells when its request began, in local time: a regular
    # expression with that time as its group, and the form of the time as polars reads it.
    began: tuple[str, str] | None = None
