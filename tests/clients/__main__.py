"""Plays real clients against a stand-in provider, and compares tallybook with what it answered.

    python -m tests.clients CLIENT [--version V]... [--keep DIR]

CLIENT is codex, claude-code, 9router, verifiers or deer-flow.

A client is installed from its registry into a temporary folder, which is also its home. A provider
on loopback answers it with counts that are known call by call. Scenarios are played (turns, tools,
resumed and forked threads, compaction, sub-agents, broken streams, retries, upgrades in place), and
tallybook reads what the client wrote, once with a ledger after every scenario and once afresh.

Of every call the table says what became of it:

    right      all its buckets are as answered, and for the thread that asked
    unknown    tallybook says that it does not know a bucket, or the call
    wrong      a count that is false and does not say so; the exit code is then 1
    unlogged   nothing of the call is in the logs, so no reader could count it

What a version cannot play is said; where nothing could be played the exit code is 2. Without
`--version` the versions are those that the client's module names and the newest; the newest also
goes on in the home of each older one. Nothing is sent anywhere but to the registry and to loopback,
and nothing is left behind but the folder of `--keep`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.clients.answers import mark
from tests.clients.compare import WORDS, Verdict, compare
from tests.clients.play import Play
from tests.clients.room import NotPlayed, Room, latest, numbers
from tests.clients.upstream import Answered, Upstream

_CLIENTS: Final = {
    "codex": "codex",
    "claude-code": "claude_code",
    "9router": "ninerouter",
    "verifiers": "verifiers",
    "deer-flow": "deer_flow",
}

_UUID: Final = 36  # characters; a thread's id ends the name of its log


def main() -> None:
    """Play the client of the command line; exit 1 where a count is wrong."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is ended and removed
    if asked.keep:
        asked.keep.mkdir(parents=True)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="clients-"))
    try:
        sys.exit(_play(asked, folder.resolve()))
    finally:
        shutil.rmtree(folder / "installed" if asked.keep else folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.clients")
    parser.add_argument("client", choices=sorted(_CLIENTS))
    parser.add_argument("--version", action="append", help="a version, instead of all")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="a new folder to play in, which stays"
    )
    return parser.parse_args()


def _play(asked: argparse.Namespace, folder: Path) -> int:
    client = importlib.import_module(f"tests.clients.{_CLIENTS[asked.client]}")
    wrong, played = 0, False
    with Upstream() as upstream:
        room = Room(folder, upstream)
        try:
            for game in _games(client, room, asked.version):
                wrong += _say(game)
                played = True
        finally:
            room.end()
    return (1 if wrong else 0) if played else 2


def _games(client: Any, room: Room, asked: list[str] | None) -> Iterator[Play]:
    try:
        python = getattr(client, "python", lambda: sys.executable)()
        newest = latest(client.PACKAGE, getattr(client, "REGISTRY", "npm"), python)
    except NotPlayed as reason:
        print(f"{client.PACKAGE}: not played: {reason}")
        return
    versions = asked or [*client.VERSIONS, newest]
    for version in sorted(versions, key=numbers):
        try:
            yield from client.play(room, version)
        except NotPlayed as reason:
            print(f"{client.PACKAGE} {version}: not played: {reason}")
    for version in client.VERSIONS if not asked else ():
        yield from client.upgrade(room, version, newest)


def _say(game: Play) -> int:
    """Print what became of the calls of a game; how many are wrong."""
    rows, problems = game.read(ledger=False)
    answered = _as_logged(game)
    verdicts = compare(answered, rows, problems, _in_logs(game), game.lacks)
    if not game.ledger:
        verdicts += _same(rows, game.read(ledger=True)[0])
    print(f"\n{game.label}")
    _print_table(game, verdicts)
    for code, n in sorted(Counter(problem["code"] for problem in problems).items()):
        print(f"  tallybook says: {n} {code}")
    unknown = Counter(one.why for one in verdicts if one.word == "unknown")
    for why, n in sorted(unknown.items()):
        print(f"  unknown: {n} {why}")
    for verdict in verdicts:
        if verdict.word == "wrong":
            place = verdict.place.removeprefix(f"{game.home}/")
            print(f"  wrong: {_called(verdict)} {verdict.why} {place}".rstrip())
    return sum(verdict.word == "wrong" for verdict in verdicts)


def _same(rows: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[Verdict]:
    """A ledger that met the logs after every scenario must say what one afresh says."""
    aside = {json.dumps({**row, "part": None}, sort_keys=True) for row in kept}
    lost = [row for row in rows if json.dumps({**row, "part": None}, sort_keys=True) not in aside]
    why = "the ledger that met the logs step by step says otherwise"
    return [Verdict("wrong", why, None, f"{row['path']}:{row['record']}") for row in lost]


def _as_logged(game: Play) -> list[Answered]:
    """The calls, without the session of the request where their lines name another one, or none.

    Claude Code may ask for a session that it resumes under the id that it had before, and Codex for
    none where it asks for chats; its log tells.
    """
    rollouts = {
        file: file.read_bytes()
        for log in game.logs
        for file in sorted(log.rglob("rollout-*.jsonl"))
    }

    def asked_in(call: Answered) -> str | None:
        """The thread of a rollout that holds the words of a call, whose request named none."""
        word = mark(call.number).encode()
        found = [file.stem[-_UUID:] for file, text in rollouts.items() if word in text]
        return found[0] if found else None

    texts = _texts(game)
    lines = [line for text in texts for line in text.splitlines()]

    def named(call: Answered) -> bool:
        own = [line for line in lines if f'"{call.id}"'.encode() in line]
        session = str(call.session).encode()
        return call.api != "messages" or any(session in text for text in own or texts)

    calls = [call if named(call) else replace(call, session=None) for call in game.answered]
    return [
        replace(call, session=asked_in(call)) if call.api == "chat" and rollouts else call
        for call in calls
    ]


def _texts(game: Play) -> list[bytes]:
    return [
        file.read_bytes()
        for log in game.logs
        for file in sorted(log.rglob("*"))
        if file.is_file() and file.suffix.lower() in game.suffixes
    ]


def _in_logs(game: Play) -> Any:
    texts = _texts(game)

    def logged(call: Answered) -> bool:
        # A capture states sums: that it holds the words of a call does not make it countable, nor
        # does it that they are a tool's result.
        word = f'"{call.id}"' if game.played or call.aside else mark(call.number)
        signs = (word.encode(), f'_tokens":{call.counts.cached},'.encode())
        return any(sign in text for text in texts for sign in signs)

    return logged


def _called(verdict: Verdict) -> str:
    if verdict.call is None:
        return "no call:"
    return f"call {verdict.call.number} ({verdict.call.during.partition(': ')[2]}):"


def _print_table(game: Play, verdicts: list[Verdict]) -> None:
    scenarios = [call.during.partition(": ")[2] for call in game.answered]
    print(f"  {'scenario':<34}" + "".join(f"{word:>10}" for word in WORDS))
    for name in dict.fromkeys([*scenarios, "no call"]):
        of = [one for one in verdicts if (_scenario(one) or "no call") == name]
        counts = Counter(one.word for one in of)
        if of:
            print(f"  {name:<34}" + "".join(f"{counts[word]:>10}" for word in WORDS))
    for name, why in game.left_out.items():
        print(f"  {name:<34} not played: {why}")


def _scenario(verdict: Verdict) -> str | None:
    return verdict.call.during.partition(": ")[2] if verdict.call else None


if __name__ == "__main__":
    main()
