"""Draws the pictures of the README anew: `.github/terminal.svg`, and with Chromium the page.

Run it in the clone with the program installed: `python .ci/pictures.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TERMINAL: Final = ROOT / ".github" / "terminal.svg"
PAGE: Final = ROOT / ".github" / "page.png"
COLUMNS: Final = 100
_ASKED: Final = ("usage-report", "--no-ledger", "fixtures/demo", "--timezone", "UTC")
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_CELL, _LINE, _EDGE = 8.4, 19, 16  # pixels
_BOLD: Final = "\x1b[1m"
_STYLE: Final = (
    "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    "text{fill:#d7dbe0;white-space:pre}"
    ".b{font-weight:700;fill:#fff}.d{fill:#8b949e}"
)


def main() -> None:
    """Draw both; the page only where there is a browser."""
    TERMINAL.write_text(drawn(["tallybook usage-report --by day,model", "", *_lines()]), "utf-8")
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit("the page is not drawn: there is no Chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        _run([*_program(), *_ASKED, "-o", str(page)])
        size = ["--window-size=1200,1130", "--hide-scrollbars", "--no-sandbox"]
        _run([browser, "--headless=new", *size, f"--screenshot={PAGE}", page.as_uri()])


def drawn(lines: Sequence[str]) -> str:
    """Lines of a terminal, of which the first is what was typed, as an SVG without fonts."""
    width = round(COLUMNS * _CELL + 2 * _EDGE)
    height = len(lines) * _LINE + 2 * _EDGE
    texts = [
        f'<text x="{_EDGE}" y="{_EDGE + n * _LINE + 13}"{_kind(line, n)}>{_text(line, n)}</text>'
        for n, line in enumerate(lines)
        if line
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#15181c"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", ground, *texts, "</svg>\n"])


def _kind(line: str, place: int) -> str:
    if line.startswith(_BOLD):
        return ' class="b"'
    return ' class="d"' if not place or "\x1b[" in line else ""


def _text(line: str, place: int) -> str:
    plain = line
    for style in (_BOLD, "\x1b[2m", "\x1b[0m"):
        plain = plain.replace(style, "")
    return escape(plain if place else f"$ {plain}")


def _program() -> list[str]:
    return [str(Path(sys.executable).with_name("tallybook"))]


def _lines() -> list[str]:
    found = _run([*_program(), *_ASKED, "--by", "day,model"])
    return [*found.stdout.splitlines(), *found.stderr.splitlines()]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    colours = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.run(  # noqa: S603 - the program and a browser
        command, cwd=ROOT, env=environment | colours, check=True, capture_output=True, text=True
    )


if __name__ == "__main__":
    main()
