"""Errors of the user's making, and what becomes of a failure of ours."""

from __future__ import annotations

from typing import Final


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


def words_of(error: Exception) -> str:
    """What an error says; of one of the system's the bare reason, without number and path."""
    return getattr(error, "strerror", None) or str(error)


class Failures:
    """What becomes of a failure of ours in reading one file: a word about that file, or `raised`.

    The tests have it raised, so that nothing hides.
    """

    raised: bool = False


FAILURES: Final = Failures()
