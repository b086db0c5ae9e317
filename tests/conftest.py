"""Settings of all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tallybook.errors import FAILURES

# A stage's first example pays for what is loaded late, and a busy machine for everything.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# What a reader raises fails the test, here and in every program that a test starts.
FAILURES.raised = True
os.environ["TALLYBOOK_RAISE"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--accept` writes the expected rows that are missing, to be read before they are kept."""
    parser.addoption("--accept", action="store_true", help="write missing expected.jsonl files")


@pytest.fixture
def failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it: what a reader raises costs its file, and is a problem of that."""
    monkeypatch.setattr(FAILURES, "raised", False)
    monkeypatch.delenv("TALLYBOOK_RAISE")
