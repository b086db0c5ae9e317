"""What the plan of a backfill says of counts that stay too low."""

from __future__ import annotations

from typing import Any

from tallybook.render.backfill import plan_text, summary_line

COUNTS: dict[str, Any] = {"input_tokens": 10, "cached_input_tokens": None}
CHANGE: dict[str, Any] = {
    "timestamp": None,
    "model": "m",
    "method": "detail",
    "before": COUNTS | {"lower_bound": True},
    "after": COUNTS | {"lower_bound": False},
    "cost_before_usd": "1",
    "cost_after_usd": "2",
    "evidence_path": "data.sqlite",
    "evidence_record": 1,
    "evidence_part": None,
}


def row(**columns: Any) -> dict[str, Any]:
    return {
        "source": "9router",
        "method": "detail",
        "calls": 1,
        "tokens_before": 10,
        "tokens_after": 20,
        "cached_before": None,
        "cached_after": 5,
        "cost_before_usd": "1",
        "cost_after_usd": "2",
        "lower_bound_before": True,
        "lower_bound_after": False,
        **columns,
    }


def totals(**columns: Any) -> dict[str, Any]:
    cost = {"cost_usd": "3", "cost_low_usd": "3", "cost_high_usd": "3"}
    return {**cost, "lower_bound": False, "unpriced_tokens": 0, **columns}


def plan(*rows: dict[str, Any], **after: Any) -> dict[str, Any]:
    return {
        "prices": {"digest": "d1"},
        "rows": rows,
        "changes": [CHANGE],
        "unrecoverable": [],
        "before": totals(lower_bound=True, cost_high_usd=None),
        "after": totals(**after),
        "coverage": {"unused": 0},
    }


def test_tokens_and_cost_of_a_lower_bound_are_at_least() -> None:
    text = plan_text(plan(row(), row(lower_bound_after=True)), None, details=False, colour=False)
    first, second, total = (line.split() for line in text.splitlines()[4:-2] if "─" not in line)
    assert first == ["9router", "detail", "1", "≥10", "20", "–", "5", "≥$1.0000", "$2.0000",
                     "+$1.0000"]  # fmt: skip
    assert second[3:5] == ["≥10", "≥20"]
    assert second[7:9] == ["≥$1.0000", "≥$2.0000"]
    assert total[2:4] == ["≥20", "≥40"]
    assert total[-3:] == ["≥$2.0000", "≥$4.0000", "+$2.0000"]


def test_so_are_those_of_a_single_call() -> None:
    text = plan_text(plan(), None, details=True, colour=False)
    assert "≥$1.0000  $2.0000" in text.replace("   ", "  ")


def test_the_line_says_what_stays_open() -> None:
    assert summary_line(plan(row())).endswith("cost of all calls ≥$3.0000 → $3.0000")
    open_ = plan(row(), cost_low_usd="2", cost_high_usd=None, lower_bound=True)
    assert summary_line(open_).endswith("≥$3.0000 → ≥$3.0000 · still at least $2.0000")
    between = plan(row(), cost_low_usd="2", cost_high_usd="4")
    assert summary_line(between).endswith("still between $2.0000 and $4.0000")
    near = plan(row(), cost_low_usd="2.00001", cost_high_usd="2.00003")
    assert summary_line(near).endswith("still between $2.00001 and $2.00003")
