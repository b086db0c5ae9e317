"""Reads application logs: the few lines that state usage, each a witness of another record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from tallybook.dialects.served import mapping
from tallybook.dialects.usage import put_usage, read_usage
from tallybook.schema import SNAPSHOT, SUM, Reported
from tallybook.sources import lines
from tallybook.sources.symphony.runs import run_row, totals_row
from tallybook.sources.symphony.sniff import LINE
from tallybook.sources.symphony.state import State
from tallybook.sources.symphony.tokens import CLAUDE, CODEX, PROVIDERS, put_codex, session
from tallybook.sources.symphony.transcripts import thread_total
from tallybook.values import count, decode, instant, text

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


_MARKER: Final = re.compile(
    rb"Ignoring message while waiting for response: |Codex session ended with error for "
    rb"|Issue token budget exhausted: |Daily token budget exhausted |Resetting daily token budget "
    rb"|ClaudeCode unparseable line: "
)
_PAIR: Final = re.compile(r"(\w+)=([^\s;]+)")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_TERM: Final = re.compile(r"%\{")
_USAGE_KEYS: Final = re.compile(r'total_token_usage|"tokenUsage"')
_COUNTS: Final = re.compile(r"(?:input|output|total)_tokens$")


class Words(NamedTuple):
    """A line that may state usage: its number, its time, and the words behind the marker."""

    record: int
    time: str
    words: str


def read_log(block: bytes, state: State) -> Iterator[Reported]:
    """The rows of the block's lines that state usage."""
    for record, line in lines.scan(block, _MARKER, state.records + 1):
        begun, marker = LINE.match(line), _MARKER.search(line)
        if begun is None or marker is None or marker.start() != begun.end():
            continue  # the words stand in another message
        stated = Words(record, begun[1].decode(), line[marker.end() :].decode("utf-8", "replace"))
        yield from _READERS[marker[0]](stated)
    state.records += lines.line_count(block)


def _dumped(line: Words) -> Iterator[Reported]:
    """A message of Codex's as Elixir prints it: the thread's total, if it has one."""
    begin = _TERM.search(line.words)
    if begin is None or _USAGE_KEYS.search(line.words) is None:
        return
    try:
        total = thread_total(mapping(parse(line.words, begin.start())))
    except ValueError as error:
        yield lines.problem(line.record, "bad-line", f"a message that cannot be read: {error}")
        return
    if total is None:
        return
    pairs = dict(_PAIR.findall(line.words[: begin.start()]))
    thread = total.thread_id or session(pairs.get("session_id")).thread_id
    row = _row(line, thread, CODEX)
    row.identity, row.rule = f"message:{thread}", f"codex-{total.rule}"
    put_codex(row, total.usage)
    yield row


def _row(line: Words, thread: str | None, agent: str) -> Reported:
    return Reported(
        record=line.record,
        kind=SUM,
        calls=None,
        evidence=SNAPSHOT,
        thread_id=thread,
        log_source=agent,
        provider=PROVIDERS[agent],
        timestamp=instant(line.time),
    )


def _stopped(line: Words) -> Iterator[Reported]:
    """What a run had used when its budget stopped it. The later form leaves the cache unsaid."""
    pairs = dict(_PAIR.findall(line.words))
    counts = {key: value for key, value in pairs.items() if _is_count(key, value)}
    row = run_row({**pairs, "timestamp": line.time, "tokens": counts}, line.record, None, SNAPSHOT)
    if row is not None:
        if "uncached_input_tokens" in counts:
            row.dialect, row.rule = "anthropic", "budget-uncached-input"
            row.reported_input_tokens = count(counts["uncached_input_tokens"], [])
            row.reported_total_tokens = None
        yield row


def _is_count(key: str, value: str) -> bool:
    return _COUNTS.search(key) is not None and value.isascii() and value.isdigit()


def _used_today(line: Words) -> Iterator[Reported]:
    """What all runs of a day had used, by Symphony's own count."""
    pairs = dict(_PAIR.findall(line.words))
    used = pairs.get("daily_used") or pairs.get("previous_daily_used") or ""
    stated = {"total_tokens": used if used.isascii() and used.isdigit() else None}
    row = totals_row(stated, line.record, None, instant(line.time))
    if row is not None:
        yield row


def _unread(line: Words) -> Iterator[Reported]:
    """A line of Claude Code's that Symphony could not use: results of turns that broke off."""
    quoted = _QUOTED.match(line.words)
    value = decode(unescape(quoted[0])) if quoted else None
    if value is None and r"\"type\":\"result\"" in line.words:
        yield lines.problem(line.record, "bad-line", "a result that was cut short")
    if not isinstance(value, dict) or value.get("type") != "result":
        return
    thread = text(value.get("session_id"))
    models = mapping(value.get("modelUsage"))
    stated: list[tuple[str | None, Any]] = list(models.items()) or [(None, value.get("usage"))]
    for model, usage in stated:
        found = read_usage(usage, "anthropic") if isinstance(usage, dict) else None
        if found is not None:
            row = put_usage(_row(line, thread, CLAUDE), found)
            row.part = f"modelUsage[{model}]" if model else None
            row.model = model
            row.identity, row.series = f"result:{thread}|{model}", f"result:{thread}"
            yield row


_READERS: Final[dict[bytes, Callable[[Words], Iterator[Reported]]]] = {
    b"Ignoring message while waiting for response: ": _dumped,
    b"Codex session ended with error for ": _dumped,
    b"Issue token budget exhausted: ": _stopped,
    b"Daily token budget exhausted ": _used_today,
    b"Resetting daily token budget ": _used_today,
    b"ClaudeCode unparseable line: ": _unread,
}
