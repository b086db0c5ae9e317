"""Makes a home folder full of Claude Code and Codex logs whose true totals are known.

    python -m tests.bench.corpus --out DIR --megabytes 1000 --seed 7

The same options give the same bytes. The truth is printed as JSON and kept in `DIR/truth.json`.
`--append` makes an existing corpus about one per cent longer, as a day of work would.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from . import claude_code, codex
from .append import append_to
from .material import DAY_MS, Texts, build_texts, iso, opaque, uuid4, uuid7
from .sink import Sink
from .truth import Truth, load_truth

FIRST_DAY_MS = 1_770_336_000_000  # 2026-02-06: every model of the corpus is out
DAYS = 120
MEAN_FILE_BYTES = 2_500_000
SMALLEST_FILE_BYTES = 4_000
LARGE_FILE_BYTES = 4_000_000  # from here on some tool outputs have 1 MB
PROJECTS = tuple(b"/home/dev/project-%02d" % number for number in range(20))


@dataclass(frozen=True)
class Plan:
    """What to make; `claude` is the share of Claude Code files."""

    megabytes: float = 1000
    seed: int = 7
    files: int | None = None
    claude: float = 0.7
    plain: bool = False  # without copied history, which not every reader takes out
    single_file: bool = False

    def sizes(self) -> list[int]:
        """Draw a size in bytes for every file, a few large ones and many small ones."""
        wanted = int(self.megabytes * 1_000_000)
        number = 1 if self.single_file else self.files or max(4, wanted // MEAN_FILE_BYTES)
        rng = Random(f"{self.seed}/sizes")
        weights = [rng.lognormvariate(0, 1.2) for _ in range(number)]
        scale = wanted / sum(weights)
        return [int(weight * scale) for weight in weights]


class Corpus:
    """A home folder under construction."""

    def __init__(self, home: Path, plan: Plan) -> None:
        self.home = home
        self.plan = plan
        self.truth = Truth(options=vars(plan).copy())
        self.texts: Texts = build_texts(plan.seed)
        self.session: claude_code.Session | None = None
        self.thread: codex.Thread | None = None

    def build(self) -> Truth:
        """Write all files and the truth beside them."""
        excess = 0
        for number, size in enumerate(self.plan.sizes()):
            target = max(SMALLEST_FILE_BYTES, size - excess)
            before = self.truth.size
            rng = Random(f"{self.plan.seed}/{number}")
            if self._is_claude(rng):
                self._claude_file(rng, target)
            else:
                self._codex_file(rng, target)
            excess += self.truth.size - before - size
        self.truth.save(self.home)
        return self.truth

    def _is_claude(self, rng: Random) -> bool:
        return self.plan.claude >= 0.5 if self.plan.single_file else rng.random() < self.plan.claude

    # Claude Code

    def _claude_file(self, rng: Random, target: int) -> None:
        kind = rng.random()
        if self.session is None or kind < 0.7:
            self.session = self._new_session(rng)
            self._write_session(rng, self.session, target)
        elif kind < 0.92 or self.plan.plain:
            self._write_session(rng, self._agent(rng, self.session), target)
        else:
            self._branch(rng, self.session, target)

    def _write_session(
        self,
        rng: Random,
        session: claude_code.Session,
        target: int,
        begin: Callable[[claude_code.Writer], None] | None = None,
    ) -> None:
        with Sink(session.path, self.truth) as sink:
            writer = claude_code.Writer(
                rng, self.texts, self.truth, sink, session,
                self.texts.upto(target // 10), target >= LARGE_FILE_BYTES,
            )  # fmt: skip
            if begin is not None:
                begin(writer)
            writer.fill(target)

    def _new_session(self, rng: Random) -> claude_code.Session:
        session_id, cwd = uuid4(rng), rng.choice(PROJECTS)
        slug = re.sub(rb"[^A-Za-z0-9]", b"-", cwd).decode()
        folder = self.home / ".claude" / "projects" / slug
        return claude_code.Session(
            path=folder / f"{session_id.decode()}.jsonl",
            session_id=session_id,
            cwd=cwd,
            version=b"2.1.%d" % rng.randrange(40, 150),
            model=rng.choice(claude_code.LEAD_MODELS),
            clock=FIRST_DAY_MS + rng.randrange(DAYS * DAY_MS),
            one_hour=rng.random() < 0.4,
            kept=None if self.plan.plain else [],
        )

    def _agent(self, rng: Random, parent: claude_code.Session) -> claude_code.Session:
        agent_id = b"a" + opaque(rng, 16)
        folder = parent.path.with_suffix("") / "subagents"
        folder.mkdir(parents=True, exist_ok=True)
        meta = {"agentType": rng.choice(claude_code.AGENT_TYPES).decode(), "spawnDepth": 1}
        name = f"agent-{agent_id.decode()}"
        (folder / f"{name}.meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return claude_code.Session(
            path=folder / f"{name}.jsonl",
            session_id=parent.session_id,
            cwd=parent.cwd,
            version=parent.version,
            model=rng.choice(claude_code.AGENT_MODELS),
            clock=parent.clock,
            agent_id=agent_id,
        )

    def _branch(self, rng: Random, parent: claude_code.Session, target: int) -> None:
        session_id = uuid4(rng)
        branch = claude_code.Session(
            path=parent.path.with_name(f"{session_id.decode()}.jsonl"),
            session_id=session_id,
            cwd=parent.cwd,
            version=parent.version,
            model=parent.model,
            clock=parent.clock + 3_600_000,
            context=40_000,
        )
        # A branch names its origin, a forked session only changes the session id, and an old
        # resume kept even that.
        how = rng.choice(("branch", "fork", "resume"))

        def copy(writer: claude_code.Writer) -> None:
            for uuid, head, tail in parent.kept or ():
                name = parent.session_id if how == "resume" else session_id
                origin = b'","forkedFrom":{"sessionId":"%b","messageUuid":"%b"}%b' % (
                    parent.session_id, uuid, tail[1:],
                )  # fmt: skip
                line = head + name + (origin if how == "branch" else tail)
                writer.sink.line(line, usage=b'"type":"assistant"' in line)
                branch.last_uuid = uuid

        self._write_session(rng, branch, target, copy)

    # Codex

    def _codex_file(self, rng: Random, target: int) -> None:
        kind = rng.random()
        parent = self.thread
        if kind < 0.05:
            self._write_thread(rng, self._new_thread(rng), target, b'{"subagent":"review"}')
        elif parent is None or kind < 0.8 or self.plan.plain:
            self.thread = self._new_thread(rng)
            self._write_thread(rng, self.thread, target, b'"cli"')
        else:
            self._fork(rng, parent, target, spawned=kind >= 0.9)

    def _new_thread(self, rng: Random, clock: int | None = None) -> codex.Thread:
        clock = clock or FIRST_DAY_MS + rng.randrange(DAYS * DAY_MS)
        thread_id, stamp = uuid7(rng, clock), iso(clock).decode()
        name = f"rollout-{stamp[:19].replace(':', '-')}-{thread_id.decode()}.jsonl"
        root = self.home / ".codex"
        archived = rng.random() < 0.05
        dated = root / "sessions" / stamp[:4] / stamp[5:7] / stamp[8:10]
        return codex.Thread(
            path=(root / "archived_sessions" if archived else dated) / name,
            thread_id=thread_id,
            cwd=rng.choice(PROJECTS),
            model=rng.choice(codex.MODELS),
            clock=clock,
            kept=None if self.plan.plain else [],
        )

    def _write_thread(
        self,
        rng: Random,
        thread: codex.Thread,
        target: int,
        source: bytes,
        *,
        parent: codex.Thread | None = None,
        lineage: bytes = b"",
    ) -> None:
        with Sink(thread.path, self.truth) as sink:
            writer = codex.Writer(
                rng, self.texts, self.truth, sink, thread,
                self.texts.upto(target // 10), target >= LARGE_FILE_BYTES,
            )  # fmt: skip
            writer.open(source, lineage)
            if parent is None:
                writer.rate_limits()
            else:
                writer.replay(parent)
            writer.fill(target)

    def _fork(self, rng: Random, parent: codex.Thread, target: int, *, spawned: bool) -> None:
        child = self._new_thread(rng, parent.clock + rng.randrange(60_000, 7_200_000))
        child.kept = None
        child.cwd = parent.cwd
        lineage = b'"forked_from_id":"%b",' % parent.thread_id
        source = b'"cli"'
        if spawned:
            source = (
                b'{"subagent":{"thread_spawn":{"parent_thread_id":"%b","depth":1,"agent_role":'
                b'"worker"}}}' % parent.thread_id
            )
        self._write_thread(rng, child, target, source, parent=parent, lineage=lineage)


def build(home: Path, plan: Plan) -> Truth:
    """Make a corpus in a new or empty folder; FileExistsError if it holds anything."""
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise FileExistsError(f"{home} is not empty")
    return Corpus(home, plan).build()


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.corpus", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="home folder to make")
    parser.add_argument("--megabytes", type=float, default=1000, help="about how much to write")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--files", type=int, help="how many logs (default: one per 2.5 MB)")
    parser.add_argument("--claude", type=float, default=0.7, help="share of Claude Code files")
    parser.add_argument("--plain", action="store_true", help="no forks, branches or resumed copies")
    parser.add_argument("--single-file", action="store_true", help="everything in one log")
    parser.add_argument(
        "--append", type=float, nargs="?", const=1.0, metavar="PERCENT",
        help="make the corpus at --out longer by about 1 (or PERCENT) per cent",
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    try:
        if options.append is not None:
            truth = append_to(options.out, load_truth(options.out), options.append)
        else:
            names = ("megabytes", "seed", "files", "claude", "plain", "single_file")
            truth = build(options.out, Plan(**{name: getattr(options, name) for name in names}))
    except (FileExistsError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(truth.document(), indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
