"""The installed price list, built once for all tests of pricing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache as once
from pathlib import Path

import pytest

from tallybook.pricing import rates as cache
from tallybook.pricing import rates as pricing


@pytest.fixture(scope="package", autouse=True)
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the package would have its table: nowhere, so that the code's own is tested.

    For these tests alone: others would build it for each of their home folders.
    """
    path = tmp_path_factory.mktemp("package") / "rates.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "SHIPPED", path)
        patch.setattr(cache, "_build", once(cache._build))
        yield path


@pytest.fixture(scope="package")
def rates(shipped: Path) -> pricing.Rates:
    return pricing.load(None, None)
