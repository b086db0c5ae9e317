"""Commands as a user sees them: standard output, standard error, exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from typer.testing import CliRunner, Result

import tallybook.files.known_places
import tallybook.ledger.open
import tallybook.render.batches
from tallybook import __version__
from tallybook.commands import app, terminal
from tallybook.commands.output import put
from tallybook.commands.overview import periods
from tests.frames import usage_frame
from tests.readings import MadeReading

USD = 10**15
Run = Callable[..., Result]
ROWS: list[dict[str, Any]] = [
    {"model": "a", "uncached_input_tokens": 900, "output_tokens": 100, "cost": USD},
    {"model": "b", "output_tokens": 50},
    {"kind": "problem", "path": "x\x1b.jsonl", "problems": ["torn-line"]},
]


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> MadeReading:
    """What the pipeline finds, and how it was called (`asked`)."""
    found = MadeReading(usage_frame(ROWS))
    monkeypatch.setattr(tallybook.ledger.open, "with_usage", found.with_usage)
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def commands_of(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands_of(each, f"{path} {name}")


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tallybook", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | options,
    )


class TestWordsAboutTheProgram:
    def test_the_version_is_told_on_both_ways_in(self, run: Run) -> None:
        assert program("--version").stdout == f"tallybook {__version__}\n"
        assert run("--version").stdout == f"tallybook {__version__}\n"

    @pytest.mark.parametrize("arguments", [["--help"], ["usage-report", "--help"], ["-h"]])
    def test_help_has_examples_that_keep_their_lines(self, arguments: list[str]) -> None:
        done = program(*arguments, COLUMNS="80")
        assert done.returncode == 0
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert "tallybook usage-report --by day --since 7d" in " ".join(lines)
        assert "Examples:" in lines

    def test_help_promises_no_option_that_a_command_lacks(self) -> None:
        commands = dict(commands_of(typer.main.get_command(app), "tallybook"))
        for path, command in commands.items():
            words = [getattr(param, "help", None) for param in command.params]
            for line in "\n".join(filter(None, [command.help, command.epilog, *words])).split("\n"):
                # An example is a line of the command that it calls.
                called = [each for each in commands if f"{line.strip()} ".startswith(f"{each} ")]
                own = commands[max(called, key=len, default=path)].params
                has = {word for param in own for word in param.opts} | {"-h", "--help"}
                named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line))
                assert named <= has, (path, line)

    def test_help_names_every_key(self, run: Run) -> None:
        text = " ".join(run("usage-report", "--help").stdout.split())
        for key in ("root-thread", "caller", "week"):
            assert key in text


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--by", "foo"], ["'foo'", "root-thread"]),
            (["--since", "nope"], ["--since 'nope'", "2026-11-01", "7d"]),
            (["--until", "2026-02-30"], ["--until '2026-02-30'"]),
            (["--since", "2026-11-02", "--until", "2026-11-01"], ["2026-11-02", "after"]),
            (["--timezone", "Mars/Base"], ["'Mars/Base'", "Europe/Berlin"]),
            (["--timezone", "localtime"], ["'localtime'"]),
            (["--prices", "none.toml"], ["none.toml"]),
            (["nowhere.jsonl"], ["nowhere.jsonl"]),
            (["-o", "report.foo"], ["report.foo", ".csv", "--format"]),
            (["-o", "report"], ["report: its suffix", ".csv", "--format"]),
            (["-o", "none/report.csv"], ["none"]),
            (["-o", "folder.csv"], ["folder.csv", "folder"]),
            (["log.json", "-o", "log.json"], ["log.json", "overwrite"]),
            (["--json", "--format", "csv"], ["--json", "csv"]),
            (["--ledger", "x", "--no-ledger"], ["--ledger", "--no-ledger"]),
            (["--limit", "0"], ["--limit"]),
            (["--sort", "size"], ["--sort"]),
            (["--source", "codx"], ["--source codx", "perhaps codex", "claude-code"]),
            (["--source", "codex", "--source", ""], ["--source is empty", "a variable"]),
            (["--problems", "p.txt"], ["--problems p.txt", ".jsonl", ".csv"]),
            (["--problems", "none/p.csv"], ["--problems", "none"]),
            (["log.json", "--problems", "log.jsonl"], ["--problems log.jsonl", "overwrite"]),
            (["-o", "a.csv", "--problems", "a.csv"], ["--problems a.csv"]),
            (["--last", "3"], ["--last", "--by day,model"]),
            (["--columns", "calls,foo"], ["--columns", "'foo'", "cache-write"]),
            (["--bogus"], ["--bogus"]),
        ],
    )
    def test_it_is_named_and_exits_with_2_before_anything_is_read(
        self, run: Run, reading: MadeReading, arguments: list[str], words: list[str]
    ) -> None:
        Path("folder.csv").mkdir()
        Path("log.json").write_text("{}\n")
        Path("log.jsonl").symlink_to("log.json")
        done = run("usage-report", *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert all(word in done.stderr for word in words), done.stderr
        assert reading.question is None
        assert Path("log.json").read_text() == "{}\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--bogus"], "no such option: --bogus"),
            (["usage"], "there is no command 'usage'"),
            (["use"], "no such command 'use'"),
            (["usage-report", "--by"], "option '--by' requires an argument"),
            (["usage-report", "--sorce", "codex"], "no such option: --sorce"),
            (["usage-report", "--limit", "0"], "invalid value for '--limit'"),
            (["usage-report", "--since", "nope"], "--since 'nope' is not a date"),
            (["export"], "missing argument 'FILE'"),
            (["export", "x.foo"], "x.foo: its suffix names no format"),
            (["ledger", "foo"], "no such command 'foo'"),
            (["sources", "x\x1b"], "got unexpected extra argument"),
        ],
    )
    def test_every_error_is_two_lines_of_one_form(
        self, run: Run, arguments: list[str], message: str
    ) -> None:
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        error, hint = done.stderr.splitlines()
        assert error.startswith(f"error: {message}")
        assert hint.startswith("hint: ")
        assert "\x1b" not in done.stderr

    def test_a_misspelt_option_is_told_what_it_may_have_meant(self, run: Run) -> None:
        assert "--source" in run("usage-report", "--sorce", "codex").stderr.splitlines()[1]

    @pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
    def test_export_speaks_of_its_file_and_of_no_option(self, run: Run, suffix: str) -> None:
        Path(f"folder.{suffix}").mkdir()
        for file in (f"folder.{suffix}", f"none/x.{suffix}", "x.xls"):
            done = run("export", file)
            assert done.exit_code == 2
            assert done.stderr.startswith(f"error: {file}")
            assert "-o" not in done.stderr.split()

    def test_control_characters_of_an_argument_are_written_out(self, run: Run) -> None:
        assert r"a\x1b[31m" in run("usage-report", "a\x1b[31m").stderr

    def test_an_unknown_command_exits_with_2(self, run: Run) -> None:
        assert run("usage").exit_code == 2


@pytest.mark.usefixtures("reading")
class TestOutput:
    def test_data_goes_to_standard_output_and_words_to_standard_error(self, run: Run) -> None:
        done = run("usage-report")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[0] == "Usage by model · prices d1"
        assert done.stderr.splitlines() == [
            (
                "1 torn-line (the last line of a file is cut off; it is missing from the figures): "
                r"x\x1b.jsonl:3"
            ),
            "≥ at least: some records do not state all of it · – not stated",
            "2 files · 2 records · 0 duplicates left out · 1 problem · 50 tokens unpriced",
        ]

    def test_json_is_the_envelope_with_what_was_asked(self, run: Run) -> None:
        Path("log.jsonl").touch()
        done = run(
            "usage-report", "log.jsonl", "--json", "--by", "caller,day", "--since", "20261101"
        )
        document = json.loads(done.stdout)
        query = document["query"]
        assert document["prices"] == {"sources": ["list 2026-11-20"], "digest": "d1"}
        assert document["tool_version"] == __version__
        assert (query["by"], query["since"], query["until"]) == (
            ["caller", "day"],
            "2026-11-01",
            None,
        )
        assert (query["timezone"], query["paths"]) == ("UTC", ["log.jsonl"])

    def test_the_same_question_has_the_same_bytes(self, run: Run) -> None:
        assert run("usage-report", "--json").stdout == run("usage-report", "--json").stdout

    @pytest.mark.parametrize("form", ["table", "csv", "markdown", "json", "html"])
    def test_the_digest_of_the_prices_stands_in_every_form(self, run: Run, form: str) -> None:
        done = run("usage-report", "--format", form)
        assert done.exit_code == 0
        assert re.search(r"\bd1\b", done.stdout)

    @pytest.mark.parametrize(
        ("name", "start"),
        [
            ("r.json", '{\n  "schema": "tallybook/usage-report"'),
            ("r.CSV", "model,calls,"),
            ("r.md", "Usage by model · prices d1\n\n| Model |"),
            ("r.txt", "Usage by model · prices d1\n\nModel"),
        ],
    )
    def test_the_suffix_picks_the_format(self, run: Run, name: str, start: str) -> None:
        done = run("usage-report", "-o", name)
        assert (done.exit_code, done.stdout) == (0, "")
        assert Path(name).read_text("utf-8").startswith(start)

    def test_a_format_wins_over_the_suffix(self, run: Run) -> None:
        run("usage-report", "-o", "r.csv", "--format", "json")
        assert json.loads(Path("r.csv").read_text())

    def test_csv_goes_out_with_its_own_line_ends(self, run: Run) -> None:
        assert b"\r\na,1,900," in run("usage-report", "--format", "csv").stdout_bytes

    def test_a_table_obeys_the_width_that_is_set(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wide = run("usage-report").stdout.splitlines()
        monkeypatch.setenv("COLUMNS", "40")
        narrow = run("usage-report").stdout.splitlines()
        assert max(map(len, narrow)) <= 40 < max(map(len, wide))

    def test_colour_comes_when_forced_and_never_with_no_color(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "\x1b" not in run("usage-report").stdout
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b[1m" in run("usage-report").stdout
        assert "\x1b" not in run("usage-report", "--json").stdout
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b" not in run("usage-report").stdout

    @pytest.mark.parametrize("format_", ["json", "csv", "markdown", "html"])
    def test_a_filter_without_a_match_is_an_answer_without_rows(
        self, run: Run, format_: str
    ) -> None:
        done = run("usage-report", "--model", "c", "--format", format_)
        assert done.exit_code == 0
        assert "no record has --model c; there is a, b" in done.stderr
        if format_ == "json":
            found = json.loads(done.stdout)
            assert (found["rows"], found["totals"]["calls"]) == ([], 0)
        else:
            assert done.stdout

    def test_a_filter_without_a_match_is_said(self, run: Run) -> None:
        done = run("usage-report", "--model", "c")
        assert (done.exit_code, done.stdout) == (0, "")
        assert "no record has --model c; there is a, b" in done.stderr


class TestReading:
    def test_without_paths_the_known_places_are_read(
        self, run: Run, reading: MadeReading, tmp_path: Path
    ) -> None:
        run("usage-report")
        assert reading.question
        assert reading.question.paths is None
        assert reading.question.home == tmp_path
        assert reading.question.cache == tmp_path / ".cache" / "tallybook"

    def test_no_ledger_writes_nothing(self, run: Run, reading: MadeReading) -> None:
        run("usage-report", "--no-ledger")
        assert reading.question
        assert reading.question.cache is reading.question.ledger is None

    def test_the_ledger_is_the_one_asked_for_else_of_the_environment_else_where_data_lies(
        self, run: Run, reading: MadeReading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ledger(*arguments: str) -> Path | None:
            run("usage-report", *arguments)
            assert reading.question
            return reading.question.ledger

        assert ledger() == tmp_path / ".local/share/tallybook/ledger"
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert ledger() == tmp_path / "data/tallybook/ledger"
        monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "mine"))
        assert ledger() == tmp_path / "mine"
        assert ledger("--ledger", "here") == tmp_path / "here"

    def test_nothing_found_is_no_error_and_says_where_it_looked(
        self, run: Run, reading: MadeReading
    ) -> None:
        reading.rows = usage_frame([])
        done = run("usage-report", "--json")
        document = json.loads(done.stdout)
        assert (done.exit_code, document["rows"]) == (0, [])
        assert (document["totals"]["calls"], document["totals"]["cost_usd"]) == (0, "0")
        assert "/home/u/.codex/sessions" in done.stderr
        assert run("usage-report").stdout == ""

    def test_an_interrupt_exits_with_130(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def usage(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(tallybook.ledger.open, "with_usage", usage)
        done = run("usage-report")
        assert (done.exit_code, done.stdout) == (130, "")


class TestStrict:
    def test_incomplete_data_exit_with_3_after_the_report(
        self, run: Run, reading: MadeReading
    ) -> None:
        done = run("usage-report", "--strict")
        assert done.exit_code == 3
        assert done.stdout == run("usage-report").stdout
        assert "strict: 1 problem, 50 tokens unpriced" in done.stderr
        assert reading.question

    def test_complete_data_exit_with_0(self, run: Run, reading: MadeReading) -> None:
        reading.rows = usage_frame(ROWS[:1])
        assert run("usage-report", "--strict").exit_code == 0


class TestSources:
    @pytest.fixture(autouse=True)
    def survey(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def survey(environment: Any, home: Path) -> list[SimpleNamespace]:
            assert environment["HOME"] == str(home)
            places = ["/home/u/.codex/sessions", "/home/u/.codex/archived_sessions"]
            return [
                SimpleNamespace(
                    name="codex", title="Codex CLI", places=places, found=[(places[0], 1200)]
                )
            ]

        monkeypatch.setattr(tallybook.files.known_places, "survey", survey)

    def test_every_place_is_listed_with_what_is_there(self, run: Run) -> None:
        assert run("sources").stdout == (
            "Source  Format     Looked for in                     Files\n"
            "──────  ─────────  ────────────────────────────────  ─────\n"
            "codex   Codex CLI  /home/u/.codex/sessions           1,200\n"
            "                   /home/u/.codex/archived_sessions      –\n"
            "──────  ─────────  ────────────────────────────────  ─────\n"
            "Total                                                1,200\n"
        )

    def test_a_place_in_the_home_folder_is_written_short(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/home/u")
        assert "  ~/.codex/archived_sessions      –\n" in run("sources").stdout
        assert "/home/u/.codex/archived_sessions" in run("sources", "--json").stdout
        monkeypatch.setenv("HOME", "/home/u/.co")
        assert "  /home/u/.codex/archived_sessions      –\n" in run("sources").stdout

    def test_json_has_the_envelope(self, run: Run) -> None:
        document = json.loads(run("sources", "--json").stdout)
        assert document["schema"] == "tallybook/sources"
        assert document["rows"] == [
            {
                "name": "codex",
                "title": "Codex CLI",
                "places": ["/home/u/.codex/sessions", "/home/u/.codex/archived_sessions"],
                "found": [{"path": "/home/u/.codex/sessions", "files": 1200}],
            }
        ]
        assert document["totals"] == {"sources": 1, "files": 1200}


class TestTerminal:
    def test_a_stream_that_is_no_terminal_has_no_width(self) -> None:
        assert terminal.width({}, StringIO()) is None
        assert terminal.width({"COLUMNS": "0"}, StringIO()) is None
        assert terminal.width({"COLUMNS": "97"}, StringIO()) == 97

    @pytest.mark.parametrize(
        ("zone", "name"),
        [
            ("Europe/Berlin", "Europe/Berlin"),
            (":Europe/Berlin", "Europe/Berlin"),
            ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
            ("CET-1CEST,M3.5.0", "UTC"),
            ("", "UTC"),
            ("../../etc/passwd", "UTC"),
        ],
    )
    def test_the_environment_names_the_zone(self, zone: str, name: str) -> None:
        assert terminal.machine_zone({"TZ": zone}) == name

    def test_the_machine_names_the_zone_by_a_link_or_in_words(self, tmp_path: Path) -> None:
        assert terminal.machine_zone({}, tmp_path) == "UTC"
        (tmp_path / "timezone").write_text("Asia/Tokyo\n")
        assert terminal.machine_zone({}, tmp_path) == "Asia/Tokyo"
        zone = tmp_path / "zoneinfo" / "Europe" / "Rome"
        zone.parent.mkdir(parents=True)
        zone.touch()
        (tmp_path / "localtime").symlink_to(zone)
        assert terminal.machine_zone({}, tmp_path) == "Europe/Rome"

    def test_a_zone_is_one_of_the_list_in_its_spelling(self) -> None:
        known = zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"}
        others = {"", "Europe", "europe/rome", "posix/UTC", "right/Europe/Rome", "Europe//Rome"}
        others |= {"zone.tab", "../zoneinfo/UTC", "Europe/Rome/", "/usr/share/zoneinfo/UTC", "a\0b"}
        assert {name for name in known | others if terminal.is_zone(name)} == known

    def test_a_progress_bar_needs_a_terminal_and_no_thread(self) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        with terminal.progress(StringIO()) as report:
            assert report is None
        screen = Terminal()
        with terminal.progress(screen) as report:
            assert report is not None
            threads = threading.active_count()
            report(1, 2)
            assert threading.active_count() == threads
        assert "50%" in screen.getvalue()


class TestFolders:
    """`HOME` and the variables of XDG are set, for platformdirs asks the process for them."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    def test_linux_has_them_where_xdg_says(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platformdirs.PlatformDirs", Unix)
        assert terminal.cache_folder(home) == home / ".cache/tallybook"
        assert terminal.ledger_folder({}, home) == home / ".local/share/tallybook/ledger"
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
            monkeypatch.setenv(name, f"/{name}")
        assert terminal.cache_folder(home) == Path("/XDG_CACHE_HOME/tallybook")
        assert terminal.ledger_folder({}, home) == Path("/XDG_DATA_HOME/tallybook/ledger")

    def test_a_relative_path_in_a_variable_of_xdg_is_passed_over(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platformdirs.PlatformDirs", Unix)
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
            monkeypatch.setenv(name, "relative")
        assert terminal.cache_folder(home) == home / ".cache/tallybook"
        assert terminal.ledger_folder({}, home) == home / ".local/share/tallybook/ledger"

    def test_a_mac_has_both_in_its_library(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platformdirs.PlatformDirs", MacOS)
        ledger = home / "Library/Application Support/tallybook/ledger"
        assert terminal.cache_folder(home) == home / "Library/Caches/tallybook"
        assert terminal.ledger_folder({}, home) == ledger

    def test_a_ledger_that_a_mac_has_in_its_library_stays_the_one(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platformdirs.PlatformDirs", MacOS)
        monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
        ledger = home / "Library/Application Support/tallybook/ledger"
        ledger.mkdir(parents=True)
        assert terminal.ledger_folder({}, home) == ledger
        assert terminal.ledger_folder({"TALLYBOOK_LEDGER": "/mine"}, home) == Path("/mine")


COMMANDS = ("--version", "--help", "usage-report -h", "sources", "usage-report log.jsonl --json")
LOSES = (">&-", ">/dev/full", ">&- 2>&-", ">/dev/full 2>/dev/full")
CALL = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1763640000,"model":"gpt-5",'
    '"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n'
)


class TestWriting:
    def test_a_file_is_replaced_whole_and_keeps_its_mode(self, tmp_path: Path) -> None:
        target = tmp_path / "r.csv"
        target.write_text("old")
        target.chmod(0o640)
        put(["n", "ew"], "table", target)
        assert target.read_text() == "new"
        assert target.stat().st_mode & 0o777 == 0o640
        assert list(tmp_path.iterdir()) == [target]

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        put(["new"], "table", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_text() == "new"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
    def test_a_reader_that_has_seen_enough_is_left_in_peace(self) -> None:
        line = f"{sys.executable} -m tallybook sources --json | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)  # noqa: S607 - the shell of the machine
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            *((f"{COMMANDS[0]} {to}", 1) for to in LOSES),
            *((f"{command} {to}", 1) for command, to in zip(COMMANDS[1:], LOSES, strict=False)),
            (f"{COMMANDS[1]} 2>&-", 0),
            (f"{COMMANDS[2]} 2>/dev/full", 0),
            ("usage-report log.jsonl --no-ledger -o report.csv >&-", 0),
            ("usage-report log.jsonl --no-ledger -o report.csv >&- 2>&-", 0),
            ("usage-report nowhere 2>&-", 2),
        ],
    )
    def test_output_that_is_lost_is_said_and_is_exit_1(
        self, tmp_path: Path, line: str, code: int
    ) -> None:
        (tmp_path / "log.jsonl").write_text(CALL)
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m tallybook {line}; exit ${{PIPESTATUS[0]}}"],  # noqa: S607 - the shell of the machine
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONUNBUFFERED": "",
                "HOME": str(tmp_path),
            },
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        if code == 1 and "2>" not in line:
            assert done.stderr.splitlines()[-1].startswith("error: cannot write")
        if "report.csv" in line:
            assert (tmp_path / "report.csv").read_text().startswith("model,")
        elif code == 0:
            assert done.stdout


LOGS: list[dict[str, Any]] = [
    *({"path": "a.jsonl", "problems": ["no-time"], "detail": "latency 5 ms"} for _ in range(5000)),
    {"path": "a.jsonl", "kind": "problem", "problems": ["bad-line"], "detail": "=cut"},
    {"path": "=b", "record": 0, "kind": "problem", "problems": ["unclaimed"]},
]


class TestProblems:
    @pytest.fixture(autouse=True)
    def usage(self, reading: MadeReading) -> None:
        reading.rows = usage_frame(LOGS)

    @pytest.mark.parametrize("command", [["usage-report"], ["export", "calls.csv"]])
    def test_all_are_written_one_a_line_with_how_many_records_have_it(
        self, run: Run, command: list[str]
    ) -> None:
        done = run(*command, "--problems", "p.jsonl")
        assert done.exit_code == 0
        assert "5,002 problems written to p.jsonl, in 3 lines" in done.stderr
        found = [json.loads(line) for line in Path("p.jsonl").read_text("utf-8").splitlines()]
        places = ("path", "record", "last_record", "count", "code", "detail")
        assert found == [
            dict(zip(places, each, strict=True))
            for each in (
                ("=b", 0, 0, 1, "unclaimed", None),
                ("a.jsonl", 1, 5000, 5000, "no-time", None),
                ("a.jsonl", 5001, 5001, 1, "bad-line", "=cut"),
            )
        ]

    def test_a_kept_answer_says_the_same_words_and_writes_the_same_file(
        self, tmp_path: Path
    ) -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "calls.jsonl").write_text(CALL.replace(',"model":"gpt-5"', "") + "{cut")
        for path in (logs / "calls.jsonl", logs):
            os.utime(path, (1.7e9, 1.7e9))  # what has just changed is not trusted

        def said(*more: str) -> tuple[str, str]:
            asked = ["usage-report", str(logs), "--json", "--ledger", str(tmp_path / "ledger")]
            done = program(*asked, *more, HOME=str(tmp_path), COLUMNS="1000")
            return done.stdout, done.stderr

        first = said()
        assert list((tmp_path / "ledger" / "answers").glob("*.answer"))
        assert said() == first
        assert "1 no-model (" in first[1]
        assert "1 torn-line (" in first[1]
        written = tmp_path / "p.jsonl"
        text, words = said("--problems", str(written))
        assert (text, words.splitlines()[1:]) == (first[0], first[1].splitlines())
        assert len(written.read_text().splitlines()) == 2

    def test_in_csv_nothing_runs(self, run: Run) -> None:
        run("usage-report", "--problems", "p.csv")
        header, *lines = Path("p.csv").read_text("utf-8").splitlines()
        assert header == "path,record,last_record,count,code,detail"
        assert lines[0] == "'=b,0,0,1,unclaimed,"
        assert lines[2] == "a.jsonl,5001,5001,1,bad-line,'=cut"

    def test_a_failure_leaves_the_old_file_and_is_said(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> int:
            raise OSError(28, "No space left on device")

        Path("p.csv").write_text("old", "utf-8")
        monkeypatch.setattr(tallybook.render.batches, "write_csv", fail)
        done = run("usage-report", "--problems", "p.csv")
        assert (done.exit_code, Path("p.csv").read_text("utf-8")) == (1, "old")
        assert done.stderr.startswith("error: cannot write p.csv: No space left")
        assert [path.name for path in Path().iterdir()] == ["p.csv"]


@pytest.mark.usefixtures("reading")
class TestExport:
    def test_one_row_a_counted_call_in_the_format_of_the_suffix(
        self, run: Run, tmp_path: Path
    ) -> None:
        for suffix in ("csv", "jsonl", "parquet"):
            result = run("export", f"calls.{suffix}")
            assert result.exit_code == 0
            assert result.stdout == ""
            assert f"2 rows written to calls.{suffix}" in result.stderr
            assert (tmp_path / f"calls.{suffix}").stat().st_size
        assert len((tmp_path / "calls.jsonl").read_text("utf-8").splitlines()) == 2

    def test_the_rows_of_a_report_where_keys_are_given(self, run: Run, tmp_path: Path) -> None:
        assert run("export", "by.csv", "--by", "source").exit_code == 0
        header, row = (tmp_path / "by.csv").read_text("utf-8").splitlines()
        assert header.startswith("source,calls,uncached_input_tokens")
        assert row.startswith("codex,2,900,")

    def test_filters_apply(self, run: Run, tmp_path: Path) -> None:
        assert run("export", "a.jsonl", "--model", "a").exit_code == 0
        (line,) = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
        assert json.loads(line)["model"] == "a"

    def test_a_suffix_without_a_format_is_wrong_usage(self, run: Run) -> None:
        result = run("export", "calls.xlsx")
        assert result.exit_code == 2
        assert "calls.xlsx" in result.stderr
        assert ".parquet" in result.stderr

    def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
        self,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: Any, **__: Any) -> int:
            raise OSError(28, "No space left on device")

        (tmp_path / "calls.csv").write_text("old", "utf-8")
        monkeypatch.setattr(tallybook.render.batches, "write_csv", fail)
        result = run("export", "calls.csv")
        assert result.exit_code == 1
        assert "No space left" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["calls.csv"]
        assert (tmp_path / "calls.csv").read_text("utf-8") == "old"


class TestOverview:
    def test_a_period_begins_where_it_is_said_to(self) -> None:
        assert periods(date(2026, 11, 26)) == {
            "Today": date(2026, 11, 26),
            "This week": date(2026, 11, 23),
            "Last 7 days": date(2026, 11, 20),
            "This month": date(2026, 11, 1),
        }
        assert periods(date(2026, 11, 1))["This week"] == date(2026, 10, 26)

    def test_each_has_the_sums_of_its_days(self, run: Run, reading: MadeReading) -> None:
        now = datetime.now(UTC)
        reading.rows = usage_frame(
            [
                {"timestamp": now, "output_tokens": 5},
                {"timestamp": now - timedelta(days=5), "output_tokens": 70},
                {"timestamp": now - timedelta(days=40), "output_tokens": 900},
            ]
        )
        done = run()
        rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()[2:]}
        assert rows["Today"][-2] == "5"
        assert rows["Last 7 days"][-2] == "75"
        assert "usage-report --by day,model" in done.stderr

    def test_a_command_of_another_program_is_answered_with_ours(self, run: Run) -> None:
        done = run("daily")
        assert (done.exit_code, done.stdout) == (2, "")
        assert "tallybook usage-report --by day" in done.stderr
