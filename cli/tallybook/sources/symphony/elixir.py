"""Reads a value as Elixir prints it into a log line: maps with `=>`, `nil`, cuts marked `...`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<name>"(?:[^"\\]|\\.)*":(?=\s)|[A-Za-z_]\w*[?!]?:(?=\s))
      | (?P<text>"(?:[^"\\]|\\.)*")(?:\s<>\s\.\.\.)?
      | (?P<number>-?\d+(?:\.\d+(?:e[+-]?\d+)?)?)
      | (?P<map>%(?:[A-Z][\w.]*)?\{)
      | (?P<list>[{\[])
      | (?P<close>[}\]])
      | (?P<arrow>=>)
      | (?P<sign>,|\.\.\.)
      | (?P<opaque>\#[A-Z][\w.]*<[^>]*>|<<[^>]*>>)
      | (?P<atom>:"(?:[^"\\]|\\.)*"|:?[A-Za-z_][\w.@]*[?!]?)
    )""",
    re.VERBOSE,
)
_WORDS: Final[dict[str, bool | None]] = {"nil": None, "true": True, "false": False}
_ESCAPE: Final = re.compile(
    r"\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.))", re.DOTALL
)
_LETTERS: Final = dict(zip("ntreabfvds0", "\n\t\r\x1b\a\b\f\v\x7f \0", strict=True))
_DEPTH: Final = 100
_UNICODE: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)  # halves of characters, which no text can hold


def parse(printed: str, position: int = 0) -> Any:
    """The value that begins at `position`; ValueError where there is none.

    Atoms become text without their colon, tuples lists. What was cut out of a container is left
    out; a text that was cut short stays as far as it goes.
    """
    parser = _Parser(printed, position)
    return parser.value(parser.token(), 0)


def unescape(quoted: str) -> str:
    """The text of a printed string; `quoted` includes its quotes."""
    return _ESCAPE.sub(_letter, quoted[1:-1])


def _letter(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code is None:
        return _LETTERS.get(escape[4], escape[4])
    letter = int(code, 16)
    return "\ufffd" if letter > _UNICODE or letter in _SURROGATES else chr(letter)


class _Parser:
    def __init__(self, printed: str, position: int) -> None:
        self._printed = printed
        self._position = position

    def token(self) -> re.Match[str]:
        token = _TOKEN.match(self._printed, self._position)
        if token is None:
            raise ValueError(f"no Elixir term at {self._position}")
        self._position = token.end()
        return token

    def value(self, token: re.Match[str], depth: int) -> Any:
        match token.lastgroup:
            case "text":
                return unescape(token["text"])
            case "number":
                number = token["number"]
                return int(number) if number.lstrip("-").isdigit() else float(number)
            case "atom":
                name = token["atom"]
                return _WORDS[name] if name in _WORDS else name.removeprefix(":").strip('"')
            case "opaque":
                return None
            case "map" if depth < _DEPTH:
                return dict(self._pair(each, depth + 1) for each in self._elements())
            case "list" if depth < _DEPTH:
                return [self._element(each, depth + 1) for each in self._elements()]
        raise ValueError(f"unexpected {token.lastgroup} at {token.start()}")

    def _elements(self) -> Iterator[re.Match[str]]:
        """The tokens that begin an element, up to the container's end."""
        while (token := self.token()).lastgroup != "close":
            if token.lastgroup != "sign":
                yield token

    def _element(self, token: re.Match[str], depth: int) -> Any:
        return list(self._pair(token, depth)) if token["name"] else self.value(token, depth)

    def _pair(self, token: re.Match[str], depth: int) -> tuple[Any, Any]:
        if token["name"]:
            return token["name"][:-1].strip('"'), self.value(self.token(), depth)
        key = self.value(token, depth)
        if self.token().lastgroup != "arrow":
            raise ValueError(f"a key without a value at {self._position}")
        return (key if isinstance(key, str | int) else str(key)), self.value(self.token(), depth)
