"""Fills what a log does not state of a call from what lies beside it, and only where it is proved.

Three pure steps: the evidence is found (`gather`, `pairing`), both sides are compared (`agreement`,
`choosing`, `matching`), and what follows is proposed (`propose`) or put in place (`apply`).
"""

from __future__ import annotations

from tallybook.backfill.apply import apply
from tallybook.backfill.propose import Proposal, propose, propose_of
from tallybook.backfill.words import METHODS, REASONS

__all__ = ["METHODS", "REASONS", "Proposal", "apply", "propose", "propose_of"]
