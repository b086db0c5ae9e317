"""Builds the rate table into the package; `python .ci/ship_rates.py` does so for a checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent.parent / "cli"
try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
except ImportError:  # a checkout needs no builder
    Hook = object


def ship() -> None:
    """Put the table for the installed genai-prices where the package looks for it first."""
    sys.path.insert(0, str(SOURCES))
    from tallybook.pricing import rates  # noqa: PLC0415 - it is not installed while it is built

    rates.ship()


class ShipRates(Hook):  # type: ignore[misc] # an optional base
    """Runs before the package is built, or is installed in place."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the table, whatever is built around it."""
        ship()


if __name__ == "__main__":
    ship()
