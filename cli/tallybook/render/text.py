"""Text that came out of a log, made harmless and short enough to show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from unicodedata import category

from tallybook.names import text_of

ELLIPSIS: Final = "…"
Cut = Callable[[str, int], str]

_ODD = re.compile(r"[^\x20-\x7e]")
_ODD_IN_JSON = re.compile(r"[^\x20-\x7e\n]")
_BREAK = re.compile(r" +(?!· )")
# One character for one, so that columns stay where they are.
_ASCII = str.maketrans({"≥": ">", "–": "-", "…": "~", "─": "-", "·": "|"})


def visible(text: str) -> str:
    """Write out what would not show as itself: controls, bidirectional marks, lone surrogates.

    Bytes of a name that are no UTF-8 show as they do in all other texts of names. A mark that would
    join what stands before the text gets a dotted circle to stand on.
    """
    shown = text if text.isprintable() else _ODD.sub(_escaped, text)
    return f"◌{shown}" if shown[:1] > "\x7f" and category(shown[0])[0] == "M" else shown


def visible_json(document: str) -> str:
    """The same inside JSON text, as JSON escapes: a reader gets the value that was written.

    Of a name in bytes that are no UTF-8 it gets the text, for no value holds them.
    """
    if document.replace("\n", "").isprintable():
        return document
    return _ODD_IN_JSON.sub(_escaped_in_json, document)


def encoded(text: str, encoding: str) -> bytes:
    """Bytes in the terminal's encoding, with plain signs where it lacks the better ones."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, errors="backslashreplace")


def display_width(text: str) -> int:
    """Cells that a terminal gives the text."""
    if text.isascii():
        return len(text)
    # Also what tabulate measures with: by another measure its columns would not stand straight.
    from wcwidth import wcswidth  # noqa: PLC0415 - 8 ms, and most texts are plain

    # Of a control character it knows no width; `visible` leaves none.
    return max(wcswidth(text), 0)


def wrapped(
    text: str, width: int | None, indent: int | None = None, cut: Cut | None = None
) -> list[str]:
    """Lines of at most `width` cells, broken at spaces and never before a lone `·`; None: one line.

    Further lines are indented by `indent` cells, by default two more than the first. A word that is
    too long for a line stands alone in one, whole (a path is to be copied) unless `cut` cuts it.
    """
    if width is None or display_width(text) <= width:
        return [text]
    first = " " * (len(text) - len(text.lstrip(" ")))
    further = " " * (len(first) + 2 if indent is None else indent)
    lines, line = list[str](), first
    for whole in _BREAK.split(text.lstrip(" ")):
        word = _fit(whole, width - len(further), cut) if cut else whole
        begun = line.strip(" ")
        if begun and display_width(line) + 1 + display_width(word) > width:
            lines.append(line)
            line, begun = further, ""
        line += f" {word}" if begun else word
    return [*lines, line]


def keep_ends(text: str, width: int) -> str:
    """Cut in the middle: `claude-opu…20251101`."""
    tail = (width - 1) // 2
    return _head(text, width - 1 - tail) + ELLIPSIS + _tail(text, tail)


def keep_head(text: str, width: int) -> str:
    """Cut the end."""
    return _head(text, width - 1) + ELLIPSIS


def keep_tail(text: str, width: int) -> str:
    """Cut the beginning, where a path says least."""
    return ELLIPSIS + _tail(text, width - 1)


def shortened(texts: Sequence[str], width: int, cut: Cut = keep_ends) -> list[str]:
    """Cut all texts to `width` cells; another way than `cut` is taken where it tells more apart."""
    ways = dict.fromkeys((cut, keep_ends, keep_tail, keep_head))
    tries = [[_fit(text, width, way) for text in texts] for way in ways]
    return max(tries, key=lambda cells: len(set(cells)))


def _fit(text: str, width: int, cut: Cut) -> str:
    return text if display_width(text) <= width else cut(text, width)


def _head(text: str, width: int) -> str:
    if text.isascii():
        return text[: max(width, 0)]
    from wcwidth import iter_graphemes  # noqa: PLC0415 - as above

    return "".join(_within(iter_graphemes(text), width))


def _tail(text: str, width: int) -> str:
    if text.isascii():
        return text[max(len(text) - width, 0) :]
    from wcwidth import iter_graphemes_reverse  # noqa: PLC0415 - as above

    return "".join([*_within(iter_graphemes_reverse(text), width)][::-1])


def _within(graphemes: Iterable[str], width: int) -> Iterator[str]:
    for grapheme in graphemes:
        width -= display_width(grapheme)
        if width < 0:
            return
        yield grapheme


def _escaped(found: re.Match[str]) -> str:
    character = text_of(found[0])
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _escaped_in_json(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(text_of(found[0]))[1:-1]
