"""How many of what, in words: the one place that knows of singular and plural."""

from __future__ import annotations


def counted(count: int, one: str, several: str = "") -> str:
    """`1 file`, `2,000 files`; `several` is the plural where it is no `s` behind `one`."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
