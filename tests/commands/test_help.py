"""What the help of a command promises, the command has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tallybook.commands import app

_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *names, name)


ALL = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> set[str]:
    found = {"--help", "-h"}
    for each in command.params:
        found |= {*each.opts, *each.secondary_opts}
    return found


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_every_option_that_a_help_names_is_there(names: tuple[str, ...]) -> None:
    command = ALL[names]
    texts = [command.help or "", command.epilog or ""]
    texts += [getattr(each, "help", None) or "" for each in command.params]
    for line in "\n".join(texts).splitlines():
        named = line.split("  tallybook ", 1)
        own = command
        if len(named) == 2:
            words = shlex.split(named[1].partition("   ")[0], comments=True)
            own = _called(words)
        assert set(_OPTION.findall(line)) <= options(own), line


def _called(words: list[str]) -> Any:
    names: tuple[str, ...] = ()
    for word in words:
        if (*names, word) not in ALL:
            break
        names = (*names, word)
    assert names or not words, words
    return ALL[names]


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_a_help_is_as_wide_as_its_terminal_and_has_no_limits_of_numbers(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(app, [*names, "--help"]).stdout
    assert "Usage:" in text
    assert "<=" not in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_json_is_the_same_as_a_format_that_is_there(names: tuple[str, ...]) -> None:
    known = options(ALL[names])
    assert ("--json" in known) == ("--format" in known)
