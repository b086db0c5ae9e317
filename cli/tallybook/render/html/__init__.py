"""A usage report as one HTML page that needs nothing beside it: no network, no other file."""

from __future__ import annotations

from tallybook.render.html.page import page, sections

__all__ = ["page", "sections"]
