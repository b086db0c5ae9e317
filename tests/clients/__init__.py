"""A bench of real clients, outside of the suite: see `tests/clients/__main__.py`."""
