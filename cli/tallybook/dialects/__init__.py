"""How each provider counts: raw usage objects to counts, and which count lies inside which."""

from __future__ import annotations

from tallybook.dialects.containment import DIALECTS, Dialect
from tallybook.dialects.usage import Usage, read_usage, state

__all__ = ["DIALECTS", "Dialect", "Usage", "read_usage", "state"]
