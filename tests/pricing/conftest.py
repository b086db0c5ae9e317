"""The installed price list, built once for all tests of pricing."""

from __future__ import annotations

import pytest

from tallybook import pricing


@pytest.fixture(scope="session")
def rates() -> pricing.Rates:
    return pricing.load(None, None)
