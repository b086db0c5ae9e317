"""An answer is given again only where nothing has changed that it came from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tallybook.report.query
from tallybook.commands import app
from tallybook.commands.kept_answers import Answer, Answers
from tallybook.ledger.digests import basis
from tallybook.ledger.open import with_usage
from tallybook.ledger.question import Question
from tallybook.ledger.reading import Reading
from tallybook.report.query import Query
from tests.ledger.homes import asked, home_of, put, session, transcript

OLD = time.time() - 100


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = home_of(tmp_path / "home")
    settle(home)
    return home


def settle(folder: Path) -> None:
    """What has just changed is not trusted to show the next change."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (OLD, OLD))


def question(home: Path, paths: list[Path] | None = None) -> Question:
    return asked(home, home.parent / "ledger", paths)


def keep(question: Question, query: Query | None = None) -> Answers:
    answers = Answers(question, query or Query(), basis(question))

    def work(reading: Reading) -> None:
        assert list(reading.batches())
        answers.keep(Answer({"rows": [1]}), reading)

    with_usage(question, work)
    return answers


def test_the_same_question_is_answered_again(home: Path) -> None:
    found = keep(question(home)).find()
    assert found is not None
    assert found.envelope == {"rows": [1]}
    assert Answers(question(home), Query(by=("day",)), basis(question(home))).find() is None


def grow(home: Path) -> None:
    put(transcript(home, 1), session(1, calls=9))


def touch(home: Path) -> None:
    transcript(home, 1).touch()


def begin(home: Path) -> None:
    put(transcript(home, 9), session(9))


def delete(home: Path) -> None:
    transcript(home, 1).unlink()


def move(home: Path) -> None:
    path = transcript(home, 1)
    path.rename(path.with_name("other.jsonl"))


def appear(home: Path) -> None:
    (home / ".codex/sessions").mkdir(parents=True)


def litter(home: Path) -> None:
    put(transcript(home, 1).with_name("notes.yaml"), b"a: 1")


def describe(home: Path) -> None:
    put(transcript(home, 1).with_name("agent-a.meta.json"), b"{}")


@pytest.mark.parametrize("change", [grow, touch, begin, delete, move, appear, litter, describe])
def test_after_a_change_it_is_not(home: Path, change: Callable[[Path], None]) -> None:
    answers = keep(question(home))
    change(home)
    assert answers.find() is None


def test_something_new_beside_a_file_that_is_named_is_a_change(home: Path) -> None:
    path = transcript(home, 1)
    answers = keep(question(home, [path]))
    assert answers.find() is not None
    put(path.with_name("x.sqlite-wal"), b"x")
    assert answers.find() is None


def test_what_has_just_changed_is_not_trusted(home: Path) -> None:
    grow(home)
    assert keep(question(home)).find() is None


def test_another_environment_or_ledger_state_is_another_question(home: Path) -> None:
    answers = keep(question(home))
    other = Question(
        None,
        {"CODEX_HOME": "/x"},
        home,
        home.parent / "ledger",
        question(home).cache,
    )
    assert Answers(other, Query(), basis(other)).find() is None
    (home.parent / "ledger/catalog.sqlite").touch()
    assert answers.find() is None


def test_a_variable_that_is_no_text_is_told_from_others(home: Path) -> None:
    """Those who name a folder may give it any bytes."""
    ledger = home.parent / "ledger"
    one, other = ({"CODEX_HOME": os.fsdecode(name)} for name in (b"/x\xff", b"/x\xfe"))
    assert keep(asked(home, ledger, environment=one)).find() is not None
    of_another = asked(home, ledger, environment=other)
    assert Answers(of_another, Query(), basis(of_another)).find() is None


def test_what_a_page_folds_into_one_row_is_not_the_answer_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallybook.report.query, "PAGE_ROWS", 2)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    call = {"object": "chat.completion", "model": "gpt-5", "choices": [], "usage": usage}
    hours = (call | {"id": f"chatcmpl-{n}", "created": 1_760_000_000 + n * 3600} for n in range(5))
    put(tmp_path / "logs/answers.jsonl", b"\n".join(json.dumps(hour).encode() for hour in hours))
    settle(tmp_path)
    asked_for = ["usage-report", str(tmp_path / "logs"), "--by", "hour", "--ledger"]
    for form in ("html", "json"):
        arguments = [*asked_for, str(tmp_path / "ledger"), "--format", form]
        done = CliRunner().invoke(app, arguments, env={"HOME": str(tmp_path), "TZ": "UTC"})
        assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 5
