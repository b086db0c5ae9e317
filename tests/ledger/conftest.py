"""All fixtures in one folder, and what is derived of them at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from tallybook.ledger import reading
from tallybook.ledger.reading import Reading
from tests.built import built
from tests.ledger.homes import opened
from tests.test_fixtures import CASES

WHOLE = 10**9  # rows of a batch that nothing is larger than


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of all fixtures, each in a folder of its name; to be read only."""
    folder = tmp_path_factory.mktemp("mixed")
    for case in CASES:
        shutil.copytree(built(case), folder / case.parent.name / case.name)
    return folder


@pytest.fixture(scope="session")
def read(mixed: Path) -> Iterator[Reading]:
    """All fixtures read once and for no ledger; `replace` makes one that has derived nothing."""
    with opened(Path("/nowhere"), None, [mixed]) as found:
        yield found


@pytest.fixture(scope="session")
def whole(read: Reading) -> pl.DataFrame:
    """The rows of all fixtures, derived at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "BATCH_ROWS", WHOLE)
        return replace(read).rows.drop("component")


@pytest.fixture
def much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is enough to be read aside; by one core, for processes take 2 s each to start here."""
    monkeypatch.setattr("tallybook.files.pool.is_pooled", lambda _: True)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
