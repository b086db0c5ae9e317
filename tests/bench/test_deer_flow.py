"""What is read of a made home is what went into it, wherever its events are kept."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from .deer_flow import build, differences, measure


@pytest.mark.parametrize("jsonl", [False, True], ids=["database", "files"])
def test_the_models_of_a_home_add_up_to_what_was_put_there(tmp_path: Path, jsonl: bool) -> None:
    truth = build(Namespace(out=tmp_path / "home", events=400, seed=3, jsonl=jsonl))
    _, rows = measure(tmp_path / "home")
    assert truth.models.keys() == {"gpt-5.1-2025-11-13", "gpt-5-mini-2025-08-07", "deepseek-v3.2"}
    assert differences(rows, truth) == []
