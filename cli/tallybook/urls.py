"""URLs of objects in storage as paths, without what could be a credential.

The text of such a path is its URL, `s3://bucket/key`, as a local path's is never: in these no two
slashes follow each other. What `Path` would lose of a key (`a//b`, `a/./b`) is written out, as
`names` does with what is no text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from tallybook.errors import UsageError
from tallybook.names import path_of, text_of

# Patterns are made when a URL is named; every run loads this.
_URL: Final = r"(?is)([a-z][a-z0-9+.-]+):/(/.*)"
_CHAIN: Final = r"[^/]*::[^/]*://"
# Spellings of one storage; its objects are to be the same files whatever they are named by.
_SAME: Final = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
# What stands first in these is never a key; another storage may have no buckets (`hdfs:///logs`).
_BUCKETS: Final = frozenset({"s3", "gs", "az"})
# Pages have no listing, and their addresses may be signed.
_PAGES: Final = frozenset({"http", "https", "ftp"})
# The part before the @ is a container there.
_CONTAINERS: Final = frozenset({"abfs", "abfss"})
_PORT: Final = r"[^:@]*:\d*"
_SIGNED: Final = r"\?[^/]*="
_LOST: Final = r"(?<=/)(?:/|\.{1,2}(?=/|$))"

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12 `Path` itself has no heirs


class ObjectPath(_Path):
    """The URL of an object, or of what a part of a bucket begins with; see `path_named`."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":")
        return f"{scheme}://{rest.replace(os.sep, '/').lstrip('/')}"

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> ObjectPath:
        """The path itself: no folder that somebody works in is above it."""
        return self


def is_url(text: str) -> bool:
    """Whether the text of an absolute path is the URL of an object."""
    return "://" in text


def is_named_by_url(text: str) -> bool:
    """Whether what a user names is a URL, of whatever sort."""
    return is_url(text) and re.fullmatch(_URL, text) is not None


def as_path(text: str) -> Path:
    """The path of a file or object whose text it is."""
    return ObjectPath(text) if is_url(text) else Path(text)


def as_text(path: Path) -> str:
    """The text of a path that was named: see `names`, and above."""
    return str(path) if isinstance(path, ObjectPath) else text_of(str(path))


def path_named(text: str) -> Path:
    """The path that a user names: of a file or folder, or a URL. Raises UsageError.

    A URL that may hold a credential is refused, without showing it: it would be kept and printed.
    """
    found = re.fullmatch(_URL, text) if is_url(text) else None
    if found is None:
        if is_url(text) and re.match(_CHAIN, text):
            raise UsageError("a URL within a URL is not read", hint="name the inner one")
        return Path(text)
    scheme, rest = found[1].lower(), found[2][1:]
    if scheme in _PAGES:
        raise UsageError("an address is no file or folder", hint="download it first")
    if scheme == "file":
        return _local(rest)
    _check_secrets(scheme, rest)
    scheme = _SAME.get(scheme, scheme)
    if not rest.strip("/") or (rest.startswith("/") and scheme in _BUCKETS):
        raise UsageError("a URL without a bucket names nothing", hint="s3://bucket/folder")
    return ObjectPath(url_of(scheme, rest.strip("/")))


def url_of(scheme: str, name: str) -> str:
    """The text of the path of an object that its storage names so: bucket and key."""
    return f"{scheme}://" + re.sub(_LOST, _told, text_of(name))


def below(url: str, name: str) -> str:
    """The URL of what storage has by this name below that of a folder."""
    return url + re.sub(_LOST, _told, f"/{text_of(name)}")


def joined(folder: str, name: str) -> str:
    """The path of what has this name in a folder, of this machine or of storage."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder, name))


def name_of(url: str) -> tuple[str, str]:
    """The scheme of an object, and what its storage names it, the opposite of `url_of`."""
    scheme, _, rest = url.partition("://")
    if "/../" in rest:  # what lies beside a file may lie in the folder above
        rest = _without_way_back(rest)
    return scheme, path_of(rest)


def _without_way_back(name: str) -> str:
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _told(found: re.Match[str]) -> str:
    return "".join(rf"\x{ord(sign):02x}" for sign in found[0])


def _local(rest: str) -> Path:
    """The file of this machine that a `file://` URL names."""
    from urllib.request import url2pathname  # noqa: PLC0415 - takes 0.03 s, and few need it

    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"} or not path:
        raise UsageError("a file:// URL names a file of this machine", hint="file:///folder/file")
    return Path(url2pathname(slash + path))


def _check_secrets(scheme: str, rest: str) -> None:
    """Raise UsageError where a user, a password or a signature may stand."""
    host, _, key = rest.partition("/")
    is_port = re.fullmatch(_PORT, host) and "@" not in key
    if (":" in host and not is_port) or ("@" in host and scheme not in _CONTAINERS):
        raise UsageError(
            "a URL with a user or a password in it is refused",
            hint="credentials are taken from where the tools of the storage take them",
        )
    if re.search(_SIGNED, rest):
        raise UsageError(
            "a URL with a query is refused, for a signature may stand in it",
            hint="name the object alone",
        )
