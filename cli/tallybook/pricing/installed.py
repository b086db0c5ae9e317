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


# What decides which rates apply, beside the table.
_RULES: Final = ("cost", "in_force", "media", "names", "rules", "spellings", "tariff")


def rules_digest() -> str:
    """Changes with the rules of this program; the table of another day knows none."""
    here = Path(__file__).parent
    rules = b"".join((here / f"{name}.py").read_bytes() for name in _RULES)
    return sha256(rules.replace(b"\r\n", b"\n")).hexdigest()


def corrections_digest() -> str:
    """Changes with the corrections that come with the package."""
    return sha256(CORRECTIONS.read_bytes()).hexdigest()
