"""The rates of a run: the cached list, the user's price file, and what they make of a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from tallybook.pricing.cache import Table, load_table
from tallybook.pricing.names import Names
from tallybook.pricing.overrides import Overrides, read_overrides
from tallybook.pricing.plan import Key, Layer, Plan, make_plan
from tallybook.pricing.table import DAY, WEEK, Rate

# Later than every period begins: the price in force last.
LATEST: Final = 2**62
MONDAY: Final = 3 * DAY  # 1970-01-01 was a Thursday
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Quote:
    """The rates of a model at one time, base tier first, and how its name led there.

    `rates` is empty where there is no price; without a time it holds those of all daily windows.
    """

    plan: Plan
    layer: Layer | None
    rates: tuple[Rate, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The way from the logged name to the price, in words."""
        match = self.plan.match.path if self.plan.match else ("no model of that name is known",)
        return (*self.plan.notes, *match, *(self.layer.notes if self.layer else ()))


class Rates:
    """Prices by name and time.

    `digest` is the same for the same list and price file; `sources` names both.
    """

    def __init__(self, table: Table, overrides: Overrides) -> None:
        self.sources = [f"genai-prices {table.version}"]
        if overrides.name is not None:
            self.sources.append(f"prices {overrides.name}")
        self.digest = sha256(f"{table.digest} {overrides.digest}".encode()).hexdigest()[:16]
        self._names = Names(table.providers)
        self._overrides = overrides
        self._plans: dict[Key, Plan] = {}

    def plan(self, key: Key) -> Plan:
        """The rates for `key` at all times; worked out once."""
        if key not in self._plans:
            self._plans[key] = make_plan(key, self._names, self._overrides)
        return self._plans[key]

    def lookup(self, model: str, provider: str | None = None, at: datetime | None = None) -> Quote:
        """The standard rates of a model at `at` (aware; None: the last in force), and why these."""
        return self.quote(Key(provider, model), at)

    def quote(self, key: Key, at: datetime | None = None) -> Quote:
        """The rates for all that a call states, at `at`; see `lookup`."""
        plan = self.plan(key)
        if at is None:
            return Quote(plan, *plan.in_force(LATEST, None))
        instant = micros(at)
        return Quote(plan, *plan.in_force(instant, week_second(instant)))


def load(
    cache_folder: Path | None,
    price_file: Path | None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Rates:
    """Rates of the installed price list and the user's file. Raises PriceFileError.

    `read` gives the content of the user's file, see `read_overrides`.

    The list is read from `cache_folder`, or built (0.2 to 0.7 s) and left there; a folder that is
    None, unwritable or damaged costs that time and nothing else.
    """
    overrides = read_overrides(price_file, read)
    return Rates(load_table(cache_folder), overrides)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def week_second(instant: int) -> int:
    """Second of the UTC week from Monday for an instant in microseconds."""
    return (instant // 1_000_000 + MONDAY) % WEEK
