"""Trials with inputs that nobody wrote, apart from the suite: `python -m tests.campaign`."""
