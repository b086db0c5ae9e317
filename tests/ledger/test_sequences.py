"""Whatever happened to the files in whatever order, the ledger says what a fresh reading says."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tallybook.files.blocks import DAMAGE, blocks, open_log
from tests.examples import tries
from tests.ledger.homes import FIXTURES, coverage, put, told

# Forks, copies, sub-agents, captures, documents and broken lines: what depends on other files.
CASES = (
    "codex/fork-replays-parent",
    "codex/subagents-replay-parent",
    "codex/fork-parent-went-on",
    "codex/resume-same-file",
    "codex/exec-cumulative",
    "codex/broken",
    "codex/bom",
    "claude-code/branch-forked-from",
    "claude-code/copies-in-other-sessions",
    "claude-code/subagent-output-unfinalised",
    "claude-code/headless-pretty-printed",
    "claude-code/broken",
    "claude-code/result-beside-transcript",
)


def plain(path: Path) -> bytes:
    read_so_far = b""
    try:
        with open_log(path) as read:
            for block in blocks(read):
                read_so_far += block
    except DAMAGE:
        pass
    return read_so_far


LOGS = [
    (path.relative_to(FIXTURES).as_posix(), plain(path))
    for case in CASES
    for path in sorted((FIXTURES / case / "input").rglob("*.json*"))
    if path.suffix in {".json", ".jsonl"}
]
Step = tuple[str, int, int, bool]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["grow", "grow", "grow", "whole", "move", "gzip", "zstd", "replace"]),
        st.integers(0, 3),  # which of a few logs
        st.integers(1, 100),
        st.booleans(),  # whether the ledger looks at it
    ),
    min_size=4,
    max_size=10,
)


class Home:
    """A folder of logs that change; `paths` says where each of them is, if it has begun.

    A file that was replaced is packed or moved only after a look at it: until then the one in the
    new place is just another file, and what the ledger knew is gone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[int, Path] = {}
        self.written: dict[int, bytes] = {}
        self.unseen: set[int] = set()  # replaced since the last look

    def step(self, what: str, number: int, amount: int) -> None:
        name, content = LOGS[number]
        path = self.paths.setdefault(number, self.folder / name)
        done = self.written.get(number, b"")
        is_packed = path.suffix in {".gz", ".zst"}
        if what in {"grow", "whole"} and not is_packed and content.startswith(done):
            part = 100 if what == "whole" else amount
            rest = (len(content) - len(done)) * part // 100
            self.write(number, content[: len(done) + rest])
        elif what == "replace" and done and not is_packed:
            self.write(number, LOGS[(number + amount) % len(LOGS)][1])
            self.unseen.add(number)
        elif what == "move" and done and number not in self.unseen:
            self.move(number, path.parent / f"moved-{amount % 3}" / path.name)
        elif what in {"gzip", "zstd"} and done and not is_packed and number not in self.unseen:
            pack: Callable[[bytes], bytes] = gzip.compress if what == "gzip" else _zstd
            packed = path.with_name(path.name + {"gzip": ".gz", "zstd": ".zst"}[what])
            put(packed, pack(done))
            path.unlink()
            self.paths[number] = packed

    def write(self, number: int, content: bytes) -> None:
        self.written[number] = content
        put(self.paths[number], content)

    def move(self, number: int, target: Path) -> None:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            self.paths[number].rename(target)
            self.paths[number] = target


def _zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


# A failure is not made smaller: that takes minutes, and the steps are few.
@settings(tries(6), phases=[Phase.reuse, Phase.generate])
@given(first=st.integers(0, len(LOGS) - 1), steps=STEPS)
def test_the_ledger_says_what_a_fresh_reading_says(first: int, steps: list[Step]) -> None:
    with TemporaryDirectory() as name:
        home, ledger = Home(Path(name) / "home"), Path(name) / "ledger"
        home.folder.mkdir()
        for what, number, amount, looked_at in steps:
            home.step(what, (first + number) % len(LOGS), amount)
            if looked_at:
                told(home.folder, ledger, [home.folder])
                home.unseen.clear()
        last = told(home.folder, ledger, [home.folder])
        assert coverage(last)["gone"] == 0
        assert last == told(home.folder, None, [home.folder])
