"""What the maintainers' comparison with another list says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tallybook.pricing import rates as pricing
from tests.pricing.compare import differences, models_of_fixtures, read

OWN = """
[[price]]
model = "gpt-5.4"
input = 2
cache_read = 0.2
output = 10
valid_to = 2026-06-01
[[price]]
model = "gpt-5.4"
input = 1
output = 10
valid_from = 2026-06-01
"""


def lines(tmp_path: Path, document: dict[str, Any]) -> list[str]:
    (tmp_path / "own.toml").write_text(OWN)
    ours = pricing.load(None, tmp_path / "own.toml")
    return [line for each in read(document) if (line := differences(each, ours))]


def test_a_list_of_today_is_compared_with_today(tmp_path: Path) -> None:
    entry = {"input_cost_per_token": 1.5e-06, "output_cost_per_token": 1e-05}
    document = {
        "gpt-5.4": entry,
        "openai/gpt-5.4": {**entry, "input_cost_per_token": 1e-06},
        "nobody-s-model": entry,
        "sample": {"mode": "image"},
    }
    assert lines(tmp_path, document) == ["gpt-5.4 today: input 1 here, 1.5 there"]


def test_a_list_with_periods_is_compared_with_each_of_their_days(tmp_path: Path) -> None:
    def period(start: str, **rates: float) -> dict[str, Any]:
        return {"start": start, "rates": {**rates, "source": "x"}}

    periods = [
        period("2026-05-01T00:00:00Z", input=2, cache_read=0.3, output=10),
        period("2026-06-01T00:00:00Z", input=1, output=10),
        period("2026-07-01T00:00:00Z", input=1, output=11),
    ]
    document = {"prices": {"openai": {"gpt-5.4": {"standard": periods}}}}
    assert lines(tmp_path, document) == [
        "openai/gpt-5.4 2026-05-01: cache_read 0.2 here, 0.3 there",
        "openai/gpt-5.4 2026-07-01: output 10 here, 11 there",
    ]


def test_the_models_are_those_of_the_fixtures() -> None:
    assert {"gpt-5.2-codex", "claude-opus-4-8"} <= models_of_fixtures()
