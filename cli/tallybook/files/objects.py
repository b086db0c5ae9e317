"""Lists and opens objects of storage through fsspec, which is loaded when a URL is named.

An object is known by its URL, its size and its ETag, or the time it was written where there is
none. No word of a failing storage leaves this module: it may hold a key, or a signed address.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import SEEK_END, SEEK_SET, BytesIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tallybook.errors import UsageError
from tallybook.urls import ObjectPath, below, is_url, name_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GONE: Final = "the object is not there"
REFUSED: Final = "access to it is refused"
CHANGED: Final = "it changed while it was read"
# Words for what libraries raise that have no error of the system for it, by the name of its class.
_WORDS: Final = {
    "FileExpired": CHANGED,
    "NoCredentialsError": "no credentials for its storage are found",
    "PartialCredentialsError": "its credentials are not whole",
    "EndpointConnectionError": "its storage cannot be reached",
}
_PIECE_BYTES: Final = 4 << 20
_AHEAD_BYTES: Final = 1 << 20  # asked for beyond what is read
# Small objects are fetched together: one by one, each would wait for its own request.
_SMALL_BYTES: Final = 1 << 20
_TOGETHER: Final = 64
_TOGETHER_BYTES: Final = 16 << 20
# The first of them that a storage states tells one content of an object from another.
_TELLING: Final = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")
_EXTRA: Final = "'tallybook[remote]'"
_PACKAGES: Final = dict.fromkeys(("gs",), f"{_EXTRA} gcsfs") | dict.fromkeys(
    ("az", "abfs", "abfss"), f"{_EXTRA} adlfs"
)


class ObjectState(NamedTuple):
    """What a look shows, by the names that the state of a file has.

    In the place of its time stands a number that changes with the content, in that of the inode one
    of its URL.
    """

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ino: int
    st_dev: int = 0


class ObjectEntry(NamedTuple):
    """An object in a listing, or a folder, which is what names have in common; as `os.DirEntry`."""

    name: str
    state: ObjectState

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.state.st_mode)

    def stat(self) -> ObjectState:
        """What the listing shows of it."""
        return self.state


Listing = dict[str, dict[str, ObjectEntry]]  # by the URL of the folder, and the name in it


def check(path: ObjectPath) -> None:
    """Raise UsageError where nothing is there, or its storage is none that can be looked at."""
    scheme, _ = name_of(str(path))
    install = f"pip install {_PACKAGES.get(scheme, _EXTRA)}"
    try:
        look(str(path))
    except _MissingError as error:
        raise UsageError(f"{scheme}:// cannot be read: {error.strerror}", hint=install) from error
    except _UnknownError as error:
        raise UsageError(
            f"no storage is known by {scheme}://", hint="s3://, gs://, az://"
        ) from error
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}") from error
    except OSError:
        pass  # reading will report it


class _MissingError(OSError):
    """What reads from a storage is not installed."""

    def __init__(self, url: str) -> None:
        super().__init__(errno.ENOSYS, "what reads from such a storage is not installed", url)


class _UnknownError(OSError):
    """No storage has this scheme."""

    def __init__(self, url: str) -> None:
        super().__init__(errno.ENOSYS, "no storage is known by this scheme", url)


def look(url: str) -> ObjectState:
    """The state of an object or folder. Raises OSError."""
    storage, name = _storage(url)
    with _told(url):
        return _state(url, storage.info(name))


def listing(top: str) -> Listing:
    """All objects below a folder, in one pass over their names. Raises OSError."""
    storage, root = _storage(top)
    with _told(top):
        found = storage.find(root, detail=True)
    root = root.rstrip("/") + "/"
    listed: Listing = {top: {}}
    for name, info in found.items():
        if name.startswith(root) and not name.endswith("/") and info["type"] == "file":
            url = below(top, name.removeprefix(root))
            _put(listed, url, ObjectEntry(url.rpartition("/")[2], _state(url, info)))
    return {folder: dict(_marked(folder, listed)) for folder in sorted(listed)}


def _marked(folder: str, listed: Listing) -> Iterator[tuple[str, ObjectEntry]]:
    """What lies in a folder by name, each folder in it with a number of the names in that."""
    for name, entry in sorted(listed[folder].items()):
        if entry.is_dir():
            names = sorted(listed[f"{folder}/{entry.name}"])
            entry = entry._replace(  # noqa: PLW2901 - the same
                state=entry.state._replace(st_mtime_ns=_number("/".join(names)))
            )
        yield name, entry


def _put(listed: Listing, url: str, entry: ObjectEntry) -> None:
    """Put an object, or a folder, into the one above it, and that into the one above, up to top."""
    folder, _, name = url.rpartition("/")
    is_new = folder not in listed
    here = listed.setdefault(folder, {})
    # An object may have the name of a folder.
    here[f"{name}/" if entry.is_dir() and name in here else name] = entry
    if is_new:
        _put(listed, folder, ObjectEntry(folder.rpartition("/")[2], _state(folder, _FOLDER)))


_FOLDER: Final = {"type": "directory", "size": 0}


def objects_of(listed: Listing) -> set[str]:
    """The URLs of the objects in a listing."""
    return {
        f"{folder}/{each.name}"
        for folder, here in listed.items()
        for each in here.values()
        if not each.is_dir()
    }


def folders(url: str) -> list[str]:
    """The names of the folders in one. Raises OSError."""
    storage, name = _storage(url)
    with _told(url):
        found = storage.ls(name, detail=True)
    return [each["name"].rpartition("/")[2] for each in found if each["type"] == "directory"]


def beginning(url: str, most: int) -> bytes:
    """The first bytes of an object, in one request. Raises OSError."""
    storage, name = _storage(url)
    try:
        with _told(url):
            found: bytes = storage.cat_file(name, start=0, end=most)
    except FileNotFoundError:
        raise
    except OSError:  # of an empty object no part can be asked for
        with open_object(url) as stream:
            return stream.read(most)
    return found


def ahead(files: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Comes to files one by one, by path and size; small objects are at hand at their turn."""
    at = 0
    while at < len(files):
        if not is_url(files[at][0]):
            at += 1
            yield
            continue
        some = _together(files, at)
        small = {url: size for url, size in some if 0 < size <= _SMALL_BYTES}
        _fetch_together(small)
        try:
            for _ in some:
                yield
        finally:
            for url in small:
                _FETCHED.pop(url, None)
        at += len(some)


_FETCHED: Final[dict[str, bytes]] = {}  # what is to be read next, by URL


def _together(files: Sequence[tuple[str, int]], at: int) -> list[tuple[str, int]]:
    """The objects of one bucket from there on, as many as are fetched at once."""
    found: list[tuple[str, int]] = []
    held = 0
    bucket = _bucket(files[at][0])
    for url, size in files[at : at + _TOGETHER]:
        held += size if size <= _SMALL_BYTES else 0
        if found and (held > _TOGETHER_BYTES or not is_url(url) or _bucket(url) != bucket):
            break
        found.append((url, size))
    return found


def _bucket(url: str) -> str:
    scheme, name = name_of(url)
    return f"{scheme}://{name.partition('/')[0]}"


def _fetch_together(sizes: Mapping[str, int]) -> None:
    """Fetch objects of one bucket; one that fails, or has another size now, is read by itself."""
    with suppress(Exception):  # the reading meets it again, and says so
        named = [_storage(url) for url in sizes]
        ends = [size + 1 for size in sizes.values()]
        found = named[0][0].cat_ranges([name for _, name in named], 0, ends, on_error="return")
        for (url, size), content in zip(sizes.items(), found, strict=True):
            if isinstance(content, bytes) and len(content) == size:
                _FETCHED[url] = content


def open_object(url: str) -> ObjectStream:
    """The bytes of an object, asked for as they are read. Raises OSError."""
    if (content := _FETCHED.get(url)) is not None:
        return ObjectStream(url, BytesIO(content))
    storage, name = _storage(url)
    with _told(url):
        return ObjectStream(url, storage.open(name, "rb", block_size=_AHEAD_BYTES))


class ObjectStream(RawIOBase):
    """The bytes of an object that is open, `size` in number.

    What takes several requests may come from two states of it. At its end the object is looked at
    again: where it has changed, that is an error.
    """

    def __init__(self, url: str, stream: Any) -> None:
        self._url, self._stream = url, stream
        self._mark = _mark(getattr(stream, "details", None) or {})
        self.size: int = stream.seek(0, SEEK_END)
        stream.seek(0)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to a byte."""
        found: int = self._stream.seek(offset, whence)
        return found

    def tell(self) -> int:
        """The byte that is read next."""
        found: int = self._stream.tell()
        return found

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; fewer only at the end. Raises OSError."""
        with _told(self._url):
            found: bytes = self._stream.read(size)
        is_ended = self.size > _AHEAD_BYTES and self._stream.tell() == self.size
        if is_ended and self._mark and look(self._url).st_mtime_ns != self._mark:
            raise OSError(errno.EBUSY, CHANGED, self._url)
        return found

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer with the next bytes; how many. Raises OSError."""
        view = memoryview(buffer).cast("B")
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Let go of it."""
        if not self.closed:
            self._stream.close()
        super().close()


@contextmanager
def at_hand(path: Path) -> Iterator[Path]:
    """A file itself, of a database in storage a copy, with its journals. Raises OSError."""
    if not isinstance(path, ObjectPath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tallybook-") as folder:
        copy = Path(folder, "copy.sqlite")
        # The log before the database: a checkpoint in between then costs nothing.
        for suffix in ("-wal", "-journal"):
            with suppress(FileNotFoundError):
                _fetch(f"{path}{suffix}", copy.with_name(copy.name + suffix))
        _fetch(str(path), copy)
        yield copy


def _fetch(url: str, target: Path) -> None:
    with open_object(url) as source, target.open("wb") as copy:
        while piece := source.read(_PIECE_BYTES):
            copy.write(piece)


def _storage(url: str) -> tuple[Any, str]:
    """The storage of a URL, which remembers nothing of an earlier look, and its name there."""
    scheme, name = name_of(url)
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - takes 0.1 s, and few name a URL

        storage, _ = url_to_fs(f"{scheme}://{name.partition('/')[0]}")
    except ImportError as error:
        raise _MissingError(url) from error
    except ValueError as error:
        raise _UnknownError(url) from error
    storage.invalidate_cache()
    return storage, storage._strip_protocol(f"{scheme}://{name}")


def _state(url: str, info: dict[str, Any]) -> ObjectState:
    is_folder = info["type"] == "directory"
    mark = _mark(info)
    if is_folder:
        # An object may have the name of a folder.
        return ObjectState(stat.S_IFDIR, 0, mark, _number(f"{url}/"))
    # What says nothing of its content is never known to be as it was.
    return ObjectState(stat.S_IFREG, info["size"] or 0, mark or time.time_ns(), _number(url))


def _mark(info: dict[str, Any]) -> int:
    """A number of an object's content; 0 where nothing tells it."""
    told = next((str(info[name]) for name in _TELLING if info.get(name)), "")
    return _number(told.strip('"')) if told else 0


def _number(text: str) -> int:
    """A number of 63 bits that no two texts share."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Have what storage raises say what it was in words of ours, and where."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, GONE, url) from None
    except PermissionError:
        raise PermissionError(errno.EACCES, REFUSED, url) from None
    except Exception as error:  # noqa: BLE001 - each storage has its own
        number = error.errno if isinstance(error, OSError) else None
        name = type(error).__name__
        words = _WORDS.get(name) or f"its storage fails: {os.strerror(number) if number else name}"
        raise OSError(number or errno.EIO, words, url) from None
