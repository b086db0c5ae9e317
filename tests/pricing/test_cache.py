"""The rate table between runs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tallybook.errors import TallybookError
from tallybook.pricing import rates as cache
from tallybook.pricing import rates as pricing
from tallybook.pricing.corrections import read_corrections
from tallybook.pricing.installed import installed_version
from tallybook.pricing.tariff import Key

WARM = """
import sys
import tomllib
from pathlib import Path
from tallybook.pricing import rates as pricing
from tallybook.pricing.tariff import Key
rates = pricing.load(Path(sys.argv[1]), None)
assert rates.quote(Key(model="claude-opus-4-8")).rates
print(sorted({"genai_prices", "pydantic", "polars"} & set(sys.modules)))
"""


def test_a_warm_run_imports_neither_the_price_list_nor_polars(tmp_path: Path) -> None:
    pricing.load(tmp_path / "new" / "folder", None)
    command = [sys.executable, "-c", WARM, str(tmp_path / "new" / "folder")]
    path = {"PYTHONPATH": str(Path(pricing.__file__).parents[2])}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=path)
    assert run.stdout == "[]\n"


def test_what_was_kept_is_what_was_built(tmp_path: Path, rates: pricing.Rates) -> None:
    built, kept = (pricing.load(tmp_path, None) for _ in range(2))
    assert [path.name for path in tmp_path.iterdir()] == ["rates.json"]
    assert built.digest == kept.digest == rates.digest
    assert built.quote(Key(model="o3")) == kept.quote(Key(model="o3"))
    day = read_corrections().looked_at
    list_ = f"genai-prices {installed_version()} (installed)"
    assert kept.sources == [list_, f"corrections {day}"]


@pytest.mark.parametrize("damage", ["empty", "torn", "changed", "other", "folder"])
def test_a_damaged_or_foreign_table_is_built_again(
    tmp_path: Path, rates: pricing.Rates, damage: str
) -> None:
    pricing.load(tmp_path, None)
    file = tmp_path / "rates.json"
    content = file.read_bytes()
    version = str(installed_version()).encode()
    damaged = {
        "empty": b"",
        "torn": content[: len(content) // 2],
        "changed": content.replace(b"5000000000", b"6000000000", 1),
        "other": content.replace(version, b"0.0.1", 1),
    }
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(damaged[damage])
    again = pricing.load(tmp_path, None)
    assert again.digest == rates.digest
    assert again.quote(Key(model="claude-opus-4-8")) == rates.quote(Key(model="claude-opus-4-8"))
    if damage != "folder":
        assert file.read_bytes() == content


def test_a_cache_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, rates: pricing.Rates
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    assert pricing.load(in_the_way / "below", None).digest == rates.digest
    assert in_the_way.read_text() == "no folder"


def test_a_failed_write_leaves_no_part_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rates: pricing.Rates
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "replace", refuse)
    assert pricing.load(tmp_path, None).digest == rates.digest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("installed", ["same", "older", "none"])
def test_the_table_that_comes_with_the_package_is_read_unless_a_newer_list_is_installed(
    tmp_path: Path,
    shipped: Path,
    rates: pricing.Rates,
    monkeypatch: pytest.MonkeyPatch,
    installed: str,
) -> None:
    version = installed_version()
    cache.ship()
    try:
        monkeypatch.setattr(cache, "_build", lambda _: pytest.fail("built"))
        others = {"same": version, "older": "0.0.1", "none": None}
        monkeypatch.setattr(cache, "installed_version", lambda: others[installed])
        found = pricing.load(tmp_path, None)
        assert (found.digest, found.sources[0]) == (
            rates.digest,
            f"genai-prices {version} (shipped)",
        )
        assert list(tmp_path.iterdir()) == []
    finally:
        shipped.unlink()


def test_a_newer_list_goes_before_the_table_that_comes_with_the_package(
    tmp_path: Path, shipped: Path
) -> None:
    version = installed_version()
    assert version is not None
    cache.ship()
    try:
        shipped.write_bytes(shipped.read_bytes().replace(version.encode(), b"0.0.1", 1))
        found = pricing.load(tmp_path, None)
        assert found.sources[0] == f"genai-prices {version} (installed)"
        assert [path.name for path in tmp_path.iterdir()] == ["rates.json"]
    finally:
        shipped.unlink()


def test_without_any_list_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "installed_version", lambda: None)
    with pytest.raises(TallybookError) as raised:
        pricing.load(None, None)
    assert "tallybook[prices]" in (raised.value.hint or "")


def test_the_program_needs_no_price_list_at_run_time() -> None:
    """Nor what comes with one: an HTTP client, and a library of models of data."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    assert not any(name.startswith("genai-prices") for name in project["dependencies"])
