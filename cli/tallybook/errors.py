"""Errors of the user's making; everything else that raises is a bug of ours."""

from __future__ import annotations


class TallybookError(Exception):
    """What went wrong and where (`message`), and what to do about it (`hint`, may be empty)."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TallybookError):
    """The command line asks for something that cannot be."""

    exit_code = 2
