"""Remembers which objects of storage a source claims and which none, of those that may be any file.

What lies on a disk is looked into again each time; to open an object takes two requests.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tallybook.files.find import Search, Verdicts
from tallybook.ledger.digests import reading_digest
from tallybook.ledger.manifest import Damaged, sealed, unsealed
from tallybook.private import read_own, write_aside

_NAME: Final = "objects"
_KIND: Final = b"objects"


class _Kept(msgspec.Struct):
    """What the code of this digest has told."""

    code: str
    verdicts: Verdicts


def verdicts(folder: Path) -> Verdicts:
    """What is remembered in a folder; nothing where that is damaged, or told by other code."""
    with suppress(OSError, Damaged, msgspec.MsgspecError):
        content = unsealed(_KIND, read_own(folder / _NAME))
        kept = msgspec.msgpack.decode(content, type=_Kept)
        if kept.code == reading_digest():
            return kept.verdicts
    return {}


def remember(folder: Path, search: Search) -> None:
    """Keep what a search has told, without what it saw to be there no more. Raises OSError."""
    if search.verdicts == verdicts(folder):
        return
    tops = tuple(str(each) for each in search.searched)
    failed = tuple(str(path) for path, _ in search.failed)
    there = {
        url: verdict
        for url, verdict in search.verdicts.items()
        if url in search.objects or url.startswith(failed) or not url.startswith(tops)
    }
    content = msgspec.msgpack.encode(_Kept(reading_digest(), there))
    write_aside(folder / _NAME, sealed(_KIND, content), sync=False)
