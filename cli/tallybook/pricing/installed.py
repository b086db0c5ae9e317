"""Which price list is installed; a kept answer needs to know no more of prices."""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_DISTRIBUTION: Final = "genai_prices"
CORRECTIONS: Final = Path(__file__).with_name("corrections.toml")


def installed_version() -> str | None:
    """Version of genai-prices, from the name of its metadata folder; None where there is none.

    `importlib.metadata` takes a tenth of a second; it is asked only where the folder is unclear.
    """
    spec = find_spec(_DISTRIBUTION)
    if spec is None:
        return None
    if spec.origin is not None:
        packages = Path(spec.origin).parent.parent
        found = [path.name for path in packages.glob(f"{_DISTRIBUTION}-*.dist-info")]
        if len(found) == 1:
            return found[0].removeprefix(f"{_DISTRIBUTION}-").removesuffix(".dist-info")
    from importlib.metadata import version  # noqa: PLC0415

    return version("genai-prices")


# The name of this program's rules, which beside the table decide what a call costs. The digest of
# prices in a report is made of it. It is another one where any call costs otherwise, which a test
# tells, and stays where the code alone is another.
RULES: Final = "5f8e42aa5ad101a6d5c698172f7c0102b1e718c9e5cdc550b7452eca4900da17"


def corrections_digest() -> str:
    """Changes with the corrections that come with the package."""
    return sha256(CORRECTIONS.read_bytes()).hexdigest()
