"""The campaign's own parts: trials repeat, checks find what is wrong, inputs become small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.campaign import cut, damage, fuzz, grow, trial
from tests.campaign.mutate import mutate
from tests.campaign.trial import Failed, check, files_of, put_case


@pytest.mark.parametrize("one", [fuzz.trial, cut.trial, damage.trial, grow.trial])
def test_a_trial_of_the_fixtures_passes(one: Callable[[Random, Path], str], tmp_path: Path) -> None:
    assert one(Random("a seed that passes"), tmp_path)


def test_a_seed_makes_the_same_input_again(tmp_path: Path) -> None:
    case = next(case for case in trial.cases() if case.name == "era-b-block-lines")
    contents = []
    for name in ("one", "two"):
        for number, path in enumerate(files_of(put_case(case, tmp_path / name))):
            mutate(path, Random(f"7 {number}"))
        contents.append([path.read_bytes() for path in files_of(tmp_path / name)])
    assert contents[0] == contents[1]
    assert contents[0] != [path.read_bytes() for path in files_of(case / "input")]


def report(**wrong: int | str | None) -> str:
    row = {**dict.fromkeys(trial.COUNTS, 0), "calls": 1, "uncached_input_tokens": 7}
    row |= {"input_tokens": 7, "total_tokens": 7}
    costs = {"cost_usd": "1", "cost_low_usd": "0.5", "cost_high_usd": "2"}
    totals = row | costs
    return json.dumps([[{**totals, **wrong}], totals, {"problem_list": []}])


def test_a_report_that_adds_up_passes() -> None:
    check(report())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"calls": 2}, "calls"),
        ({"cost_usd": "1.5"}, "cost_usd"),
        ({"uncached_input_tokens": 6}, "uncached_input_tokens"),
        ({"cost_high_usd": "0.9"}, "above its upper bound"),
    ],
)
def test_a_report_that_does_not_add_up_fails(wrong: dict[str, int | str], words: str) -> None:
    with pytest.raises(Failed, match=words):
        check(report(**wrong))


def test_what_fails_is_made_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.jsonl").write_text("".join(f"{number}\n" for number in range(100)))
    (logs / "b.jsonl").write_text("of no consequence\n")

    def attempt(logs: Path, _: Path) -> None:
        path = logs / "a.jsonl"
        lines = path.read_text().split() if path.exists() else []
        if {"17", "63"} <= {*lines}:
            raise Failed("both are there")

    monkeypatch.setattr(fuzz, "attempt", attempt)
    fuzz.smaller(logs, tmp_path, "both are there")
    assert (logs / "a.jsonl").read_text() == "17\n63\n"
    assert files_of(logs) == [logs / "a.jsonl"]
