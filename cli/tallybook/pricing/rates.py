"""The rates for keys of calls, found and kept: the list, the file of the user, the cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tallybook.errors import TallybookError
from tallybook.pricing.installed import RULES, corrections_digest, installed_version
from tallybook.pricing.price_file import Overrides, read_overrides
from tallybook.pricing.table import DAY, TABLE_VERSION, WEEK, Listed, Rate, Seller, micros
from tallybook.private import aside, make_folder, read_own, sweep

if TYPE_CHECKING:
    from tallybook.pricing.names import Names
    from tallybook.pricing.tariff import Key, Layer, Tariff

_FILE: Final = "rates.json"
_ASIDE: Final = f"{_FILE}."
SHIPPED: Final = Path(__file__).with_name(_FILE)


class Table(msgspec.Struct, frozen=True, dict=True):
    """The rate table with the version of its source and a digest of its content.

    It is decoded when a price is asked for: rows that are kept have theirs.
    """

    version: str  # of genai-prices
    digest: str
    content: tuple[Seller, ...] | bytes
    corrected: str = ""  # the day of the corrections
    origin: str = "installed"  # or "shipped": whose genai-prices it is made of

    @cached_property
    def providers(self) -> tuple[Seller, ...]:
        """The sellers with their models."""
        if isinstance(self.content, tuple):
            return self.content
        return msgspec.json.decode(self.content, type=tuple[Listed, ...])


class _Header(msgspec.Struct, frozen=True):
    version: str
    table_version: int
    digest: str
    corrections: str  # digest of their file
    corrected: str


def load_table(folder: Path | None) -> Table:
    """The table that comes with the package, or that of a newer genai-prices which is installed.

    The latter is read from `folder`, or built and left there. Raises TallybookError where there is
    neither.
    """
    version, shipped = installed_version(), _read(SHIPPED, "shipped")
    if shipped and (version is None or _numbers(version) <= _numbers(shipped.version)):
        return shipped
    if version is None:
        raise TallybookError(
            "the price list is missing from this installation",
            "Install it with: pip install 'tallybook[prices]'",
        )
    kept = _read(folder / _FILE) if folder else None
    if kept is not None and kept.version == version:
        return kept
    table, content = _build(version)
    if folder:
        _write(folder / _FILE, content)
    return table


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def ship() -> None:
    """Build the table into the package."""
    version = installed_version()
    if version is None:
        raise TallybookError("genai-prices is not installed: the table is made of it")
    _write(SHIPPED, _build(version)[1])
    SHIPPED.chmod(0o644)  # whoever installs the package, everybody may run it


def _build(version: str) -> tuple[Table, bytes]:
    # A warm run needs none of these.
    from tallybook.pricing.build import build_providers  # noqa: PLC0415
    from tallybook.pricing.corrections import correct, read_corrections  # noqa: PLC0415
    from tallybook.pricing.passed_on import pass_on  # noqa: PLC0415

    corrections = read_corrections()
    providers = pass_on(correct(build_providers(), corrections))
    payload = msgspec.json.encode(providers)
    digest, corrected = _digest(payload), corrections.looked_at.isoformat()
    header = _Header(version, TABLE_VERSION, digest, corrections_digest(), corrected)
    return (
        Table(version, digest, providers, corrected),
        msgspec.json.encode(header) + b"\n" + payload,
    )


def _digest(payload: bytes) -> str:
    return sha256(payload).hexdigest()


def _read(path: Path, origin: str = "installed") -> Table | None:
    """The table of a file; None where that is damaged, or not of this program's making."""
    try:
        head, _, payload = read_own(path).partition(b"\n")
        header = msgspec.json.decode(head, type=_Header)
    except (OSError, msgspec.MsgspecError):
        return None
    made = (header.table_version, header.corrections, header.digest)
    if made != (TABLE_VERSION, corrections_digest(), _digest(payload)):
        return None
    return Table(header.version, header.digest, payload, header.corrected, origin)


def _write(path: Path, content: bytes) -> None:
    # A folder that cannot be written to costs the next run the time to build, nothing else.
    with suppress(OSError):
        make_folder(path.parent)
        with aside(path.parent, _ASIDE) as beside:
            beside.write_bytes(content)
            beside.replace(path)
        sweep(path.parent, _ASIDE)


# Later than every period begins: the price in force last.
LATEST: Final = 2**62
MONDAY: Final = 3 * DAY  # 1970-01-01 was a Thursday


class Quote(msgspec.Struct, frozen=True):
    """The rates of a model at one time, base tier first, and how its name led there.

    `rates` is empty where there is no price; without a time it holds those of all daily windows.
    """

    tariff: Tariff
    layer: Layer | None
    rates: tuple[Rate, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The way from the logged name to the price, in words."""
        match = self.tariff.match.path if self.tariff.match else ("no model of that name is known",)
        return (*self.tariff.notes, *match, *(self.layer.notes if self.layer else ()))


class Rates:
    """Prices by name and time.

    `digest` is the same for the same list, price file and rules of this program, and so for the
    same money; `sources` names the first two. `table` and
    `overrides` are what they are made of.
    """

    def __init__(self, table: Table, overrides: Overrides) -> None:
        self.sources = [f"genai-prices {table.version} ({table.origin})"]
        if table.corrected:
            self.sources.append(f"corrections {table.corrected}")
        if overrides.name is not None:
            self.sources.append(f"prices {overrides.name}")
        made_of = f"{table.digest} {overrides.digest} {RULES}"
        self.digest = sha256(made_of.encode()).hexdigest()[:16]
        self.table, self.overrides = table, overrides
        self._tariffs: dict[Key, Tariff] = {}

    @cached_property
    def _names(self) -> Names:
        from tallybook.pricing.names import Names  # noqa: PLC0415 - few questions price anything

        return Names(self.table.providers)

    def tariff(self, key: Key) -> Tariff:
        """The rates for `key` at all times; worked out once."""
        from tallybook.pricing.tariff import tariff_of  # noqa: PLC0415 - as above

        if key not in self._tariffs:
            self._tariffs[key] = tariff_of(key, self._names, self.overrides)
        return self._tariffs[key]

    def provider_id(self, stated: str | None) -> str | None:
        """Id of the provider that a log calls `stated`; None where the list does not have it."""
        return self._names.provider_id(stated)

    def listed(self) -> Iterator[Key]:
        """Every model that the list or the user's file has a price of, each as one that sells it.

        An entry may stand in both.
        """
        from tallybook.pricing.tariff import Key  # noqa: PLC0415 - as above

        for price in self.overrides.prices:
            yield Key(price.provider, price.model)
        for provider, model in self._names.listed():
            if model.rates:
                yield Key(provider, model.id)

    def quote(self, key: Key, at: datetime | None = None) -> Quote:
        """The rates for all that a call states at `at` (aware; None: the last), and why these."""
        tariff = self.tariff(key)
        if at is None:
            return Quote(tariff, *tariff.in_force(LATEST, None))
        instant = micros(at)
        return Quote(tariff, *tariff.in_force(instant, week_second(instant)))


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


def week_second(instant: int) -> int:
    """Second of the UTC week from Monday for an instant in microseconds."""
    return (instant // 1_000_000 + MONDAY) % WEEK
