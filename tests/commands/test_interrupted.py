"""Ctrl-C ends the program at any moment with exit code 130, and without a word."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Interrupts itself where a module is looked for, or where something is let go there.
SCRIPT = """
import runpy, signal, sys

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

class Finder:
    def find_spec(self, name, *_):
        if name == moment:
            {interrupt}

moment, entry, *arguments = sys.argv[1:]
sys.argv = ["tallybook", *arguments]
sys.meta_path.insert(0, Finder())
if entry == "module":
    runpy.run_module("tallybook", run_name="__main__", alter_sys=True)
from tallybook.__main__ import main
main()
"""
ONCE = "signal.raise_signal(signal.SIGINT)"
TWICE = f"""
            try:
                {ONCE}
            finally:
                {ONCE}
"""
LOADING, RUNNING = "typer", "tallybook.files.known_places"


@pytest.mark.parametrize(
    ("moment", "entry", "interrupt"),
    [
        (LOADING, "module", ONCE),
        (LOADING, "script", ONCE),
        (RUNNING, "script", TWICE),
        (RUNNING, "script", "Dropped()"),
    ],
)
def test_an_interrupt_ends_it_without_a_word(moment: str, entry: str, interrupt: str) -> None:
    script = SCRIPT.format(interrupt=interrupt)
    command = [sys.executable, "-c", script, moment, entry, "sources"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")
