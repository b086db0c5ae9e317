"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A stage's first example pays for what is loaded late, and a busy machine for everything.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
