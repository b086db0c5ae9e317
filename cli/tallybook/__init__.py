"""tallybook reads the stored traces of coding agents and says what they cost.

In Python: `usage`, `calls`, `read` and `price` (see `tallybook.notebook`), loaded at need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallybook.notebook import calls, price, read, usage

__all__ = ["__version__", "calls", "price", "read", "usage"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tallybook import notebook  # noqa: PLC0415 - loads polars

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return __all__
