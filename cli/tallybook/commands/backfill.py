"""`tallybook backfill`: fills what logs do not state from what lies beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from tallybook.commands import options, terminal
from tallybook.commands.answering import question_of, read
from tallybook.commands.options import check_files, chosen_zone, with_options
from tallybook.commands.output import (
    check_problems,
    put,
    say,
    stderr_width,
    stdout_colour,
    stdout_width,
    write_problems,
)
from tallybook.commands.program import app
from tallybook.errors import UsageError
from tallybook.files.regular import is_there
from tallybook.render.formats import envelope, json_text
from tallybook.urls import ObjectPath, as_text, path_named
from tallybook.wording import counted

if TYPE_CHECKING:
    from tallybook.backfill.plan import BackfillPlan
    from tallybook.ledger.question import Question
    from tallybook.ledger.reading import Reading
    from tallybook.report.problems import ProblemCount

_EXAMPLES = """\b
Examples:
  tallybook backfill                      what could be filled, at what cost
  tallybook backfill --details            the largest changes, call by call
  tallybook backfill --apply              record it; reports use it from then
  tallybook backfill --undo               take all of it back
  tallybook backfill --responses bodies/  look for answers there as well
  tallybook backfill --apply --in-place   write it into 9router's files too
  tallybook backfill --restore            take that back, from the backups

\b
The logs are changed with --apply --in-place only, and only 9router's.
--restore takes back all runs at once: what they changed states again what it
did before the first. What 9router added or changed since stays. The backups
stay as well.
Exit codes: 0 done, 1 could not do it, or not for every file, 2 wrong usage."""


class BackfillOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, as they were given."""

    paths: options.Paths = None
    everything: options.All = False
    apply: Annotated[
        bool, typer.Option("--apply", help="Record what is proved beside the facts, in the ledger.")
    ] = False
    undo: Annotated[bool, typer.Option("--undo", help="Take back all that was recorded.")] = False
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="With --apply: write it into 9router's own files too, after a backup.",
        ),
    ] = False
    restore: Annotated[
        bool,
        typer.Option(
            "--restore", help="Put back what 9router's files stated before the first --in-place."
        ),
    ] = False
    responses: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            parser=options.named("--responses", path_named),
            help="Stored responses that lie elsewhere; repeatable.",
        ),
    ] = None
    details: Annotated[
        bool, typer.Option("--details", help="Show the largest changes call by call.")
    ] = False
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="TZ", help="IANA zone of local times in folder names; default: the machine's."
        ),
    ] = None
    problems: options.Problems = None
    format_: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How to write the plan.")
    ] = "table"
    json: options.Json = False
    ledger: options.Ledger = None
    no_ledger: options.NoLedger = False
    prices: options.Prices = None
    engine: options.Engine = None

    @property
    def is_json(self) -> bool:
        """Whether data is to be written as JSON."""
        return self.json or self.format_ == "json"

    @property
    def folder(self) -> Path:
        """Where the ledger is. Raises UsageError."""
        return terminal.own_ledger(self.ledger)

    def check(self) -> None:
        """Raise UsageError for options that exclude each other, and for files that cannot be."""
        names = ("apply", "undo", "restore")
        chosen = [f"--{name}" for name in names if getattr(self, name)]
        takes_back = self.undo or self.restore
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(chosen)} exclude each other")
        if self.in_place and takes_back:
            raise UsageError("--in-place goes with --apply, or shows what it would change")
        if self.no_ledger and (self.apply or self.undo):
            raise UsageError(f"{chosen[0]} needs the ledger", hint="leave out --no-ledger")
        if self.everything and takes_back:
            hint = "--undo and --restore know their calls"
            raise UsageError("--all is of no use here", hint=hint)
        if self.in_place or self.restore:
            _check_writable(self.paths)
        inputs = [*(self.paths or []), *(self.responses or [])]
        check_files(inputs, self.prices, None)
        check_problems(self.problems, inputs, None)

    def query(self) -> dict[str, Any]:
        """What was asked, as the JSON document has it."""
        more = _named(self.responses) or []
        return {"paths": _named(self.paths), "all": self.everything, "responses": more}

    def questions(self) -> tuple[Question, Question | None]:
        """What is asked of the ledger, and of stored responses that lie elsewhere."""
        asked = question_of(
            self.paths,
            self.prices,
            self.ledger,
            no_ledger=self.no_ledger,
            as_recorded=True,
            everything=self.everything,
            engine=self.engine,
        )
        if not self.responses:
            return asked, None
        more = question_of(
            self.responses, None, None, no_ledger=True, as_recorded=True, engine=self.engine
        )
        return asked, more


@app.command("backfill", epilog=_EXAMPLES, short_help="Fill lost counts from stored responses.")
@with_options(BackfillOptions)
def backfill(asked: BackfillOptions) -> None:
    """Fill counts that a log lost, from responses, details and twins that lie beside it.

    Without --apply it changes nothing and shows what it would do.
    """
    zone = chosen_zone(asked.timezone)
    asked.check()
    if asked.undo:
        _undo(asked.folder)
    elif asked.restore:
        _restore(asked)
    else:
        _fill(asked, zone)


def _fill(asked: BackfillOptions, zone: str) -> None:
    """Show the plan; record it, and write it into files, where that is asked for."""
    question, more = asked.questions()
    plan, answer, notes = read(question, partial(_planned, asked=asked, zone=zone, responses=more))
    files, changed = _written(plan, apply=asked.apply) if asked.in_place else (None, set[str]())
    known = None if asked.no_ledger else _recorded_before(plan, asked.folder)
    answer |= {"in_place": files, "recorded_before": known, "applied": None}
    with _said_whatever_comes(files or []):
        if asked.apply:
            again = partial(_planned_again, question, zone, more)
            answer["applied"] = _apply(plan, again, asked.folder, changed)
        put([_rendered(answer, asked)], "json" if asked.is_json else "table")
    _remark(answer, notes)
    _judge(files or [])


def _written(plan: BackfillPlan, *, apply: bool) -> tuple[list[dict[str, Any]], set[str]]:
    from tallybook.commands import in_place

    return in_place.write(plan, apply=apply)


def _planned(
    reading: Reading, *, asked: BackfillOptions, zone: str, responses: Question | None
) -> tuple[BackfillPlan, dict[str, Any], list[str]]:
    """The plan, its document with the problems of what it was made from, and what is to be said."""
    plan, found = _plan(reading, zone, responses, asked.problems)
    answer = _answer(plan, reading, asked)
    answer["coverage"] |= found.coverage()
    return plan, answer, reading.notes


def _planned_again(question: Question, zone: str, responses: Question | None) -> BackfillPlan:
    """The plan from what the files state by now; its problems have been told."""
    return read(question, lambda now: _plan(now, zone, responses, None)[0])


@contextmanager
def _said_whatever_comes(files: list[dict[str, Any]]) -> Iterator[None]:
    """What was changed in files is changed, whatever fails then; so it is said."""
    try:
        yield
    except BaseException:
        _say_files(files)
        raise


def _restore(asked: BackfillOptions) -> None:
    """Take back what was written in place; data of it on standard output as JSON only."""
    from tallybook.commands import in_place

    files = in_place.restore(asked.paths)
    _say_files(files)
    if asked.is_json:
        answer = envelope(
            "backfill",
            query={"paths": _named(asked.paths), "restore": True},
            rows=[],
            totals={},
            coverage={"files": len(files)},
            in_place=files,
        )
        put([json_text(answer)], "json")
    if any(row["rows"] for row in files):
        say("`tallybook backfill --apply` fills the calls in reports without changing the files")
    _judge(files)


def _say_files(files: list[dict[str, Any]]) -> None:
    from tallybook.render.backfill import file_lines

    for row in files:
        say(*file_lines(row))


def _judge(files: list[dict[str, Any]]) -> None:
    """Exit with 1 where something was asked of a file and not done."""
    if any(row["error"] is not None or row["lost"] for row in files):
        raise typer.Exit(1)


def _check_writable(paths: list[Path] | None) -> None:
    for path in paths or ():
        if isinstance(path, ObjectPath):
            raise UsageError(
                f"--in-place and --restore are for files of this machine, and {path} is none",
                hint="without them its calls are filled in reports",
            )


def _undo(folder: Path) -> None:
    from tallybook.ledger.corrections import clear_corrections

    count = clear_corrections(folder) if is_there(folder) else 0
    calls = counted(count, "call")
    say(f"corrections of {calls} taken back" if count else "there is nothing to take back")


def _apply(
    plan: BackfillPlan, again: Callable[[], BackfillPlan], folder: Path, written: set[str]
) -> dict[str, int]:
    """Record what the logs do not state themselves by now; returns how many calls became what.

    Where calls were written into their files, it is planned `again` from what these say then.
    What was recorded of a call before goes only where its row states it, whoever wrote that.
    """
    import polars as pl

    from tallybook.backfill.plan import corrections_table, stated
    from tallybook.ledger.corrections import append_corrections, corrections, new_of

    later = again() if written else plan
    gone = stated(later, pl.DataFrame(corrections(folder)))
    table = corrections_table(later.corrections)
    new = new_of(corrections(folder), table) & later.filled
    append_corrections(folder, table, gone)
    return {
        "calls": len(plan.filled),
        "in_files": len(written - later.filled),
        "recorded": len(new),
        "recorded_before": len(later.filled - new),
    }


def _recorded_before(plan: BackfillPlan, folder: Path) -> int:
    """How many of the calls to fill were filled alike before."""
    from tallybook.backfill.plan import corrections_table
    from tallybook.ledger.corrections import corrections, new_of

    if not is_there(folder):
        return 0
    new = new_of(corrections(folder), corrections_table(plan.corrections))
    return len(plan.filled - new)


def _plan(
    reading: Reading, zone: str, responses: Question | None, problems: Path | None
) -> tuple[BackfillPlan, ProblemCount]:
    """The plan, and the problems of all that it was made from; written where they are asked for."""
    from tallybook.backfill.plan import make_plan
    from tallybook.report.problems import ProblemCount

    found = ProblemCount()

    def made(more: Reading | None) -> BackfillPlan:
        plan = make_plan(reading, zone, more, found.add)
        if more is not None:
            for batch in more.batches():
                found.add(batch)
            both = Counter(reading.not_looked_at) + Counter(more.not_looked_at)
            reading.not_looked_at = dict(sorted(both.items()))
        write_problems(problems, chain(reading.batches(), more.batches() if more else ()))
        return plan

    return (made(None) if responses is None else read(responses, made)), found


def _named(paths: list[Path] | None) -> list[str] | None:
    """Paths as the JSON document has them: none are the known places."""
    return [as_text(path) for path in paths] if paths else None


def _answer(plan: BackfillPlan, reading: Reading, asked: BackfillOptions) -> dict[str, Any]:
    from tallybook.backfill.comparison import compare

    found = compare(plan, details=asked.details)
    filled = sum(row["calls"] for row in found.rows)
    return envelope(
        "backfill",
        query=asked.query(),
        prices=reading.rates,
        rows=found.rows,
        totals=found.after,
        coverage={
            "files": reading.files,
            "calls": found.before["calls"],
            "backfilled": filled,
            "unused": plan.unused,
            "not_looked_at": reading.not_looked_at,
        },
        bounded=found.bounded,
        unrecoverable=found.unrecoverable,
        before=found.before,
        after=found.after,
        changes=found.changes,
    )


def _rendered(answer: dict[str, Any], asked: BackfillOptions) -> str:
    if asked.is_json:
        shown = answer if asked.details else {k: v for k, v in answer.items() if k != "changes"}
        return json_text(shown)
    from tallybook.render.backfill import plan_text

    return plan_text(answer, stdout_width(), details=asked.details, colour=stdout_colour())


def _remark(answer: dict[str, Any], notes: list[str]) -> None:
    from tallybook.render.backfill import applied_line, summary_line
    from tallybook.render.coverage import not_looked_at_lines, problem_lines

    say(*notes)
    say(*problem_lines(answer["coverage"], stderr_width()))
    say(*not_looked_at_lines(answer["coverage"]), dim=True)
    say(summary_line(answer))
    if answer["in_place"] is not None:
        _say_files(answer["in_place"])
        if not answer["in_place"]:
            say("nothing to write in place: no call of a 9router file can be filled")
    if answer["applied"] is not None:
        bounded = sum(row["calls"] for row in answer["bounded"])
        say(applied_line(answer["applied"], bounded))
    elif answer["in_place"]:
        say("this is a plan, no file is changed: --apply --in-place writes it")
