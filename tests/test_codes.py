"""Every problem code that a module can give has words, and the README names no other."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tallybook.report.codes import CODES
from tallybook.schema import SAID_OF_COUNTED, Reported

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cli" / "tallybook"
CODE = re.compile(r"[a-z]+(-[a-z]+)*")
# Functions that are given a code, and names that hold codes.
GIVERS = {
    "problem",
    "located_problem",
    "with_problems",
    "add_problem",
    "add_problems",
    "_unreadable",
}
OTHERS = {"problems", "code", *Reported.__struct_fields__}  # columns
ARGUMENTS = re.compile(r"problems?|codes?")
HOLDERS = re.compile(r"_?problems|_?codes?|_missing|_guess(es)?|_mismatch|_broken")


def strings(node: ast.AST) -> Iterator[str]:
    """The words in an expression, but for columns that it names and the keys of a mapping."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Dict):
        yield from chain.from_iterable(map(strings, node.values))
    elif not (isinstance(node, ast.Call) and name_of(node.func) in {"col", "has_problem"}):
        yield from chain.from_iterable(map(strings, ast.iter_child_nodes(node)))


def name_of(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def called(node: ast.Call) -> str:
    """The name of what is called, be it by way of `pipe`."""
    name = name_of(node.func)
    return name_of(node.args[0]) if name == "pipe" and node.args else name


def given(tree: ast.AST) -> Iterator[str]:
    """The words where codes are given: in calls, assignments, arguments, appends, results."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from given_to(node)
        elif isinstance(node, ast.FunctionDef):
            yield from returned(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for target, value in pairs(node):
                if HOLDERS.fullmatch(name_of(target).lower()):
                    yield from strings(value)


def given_to(node: ast.Call) -> Iterator[str]:
    to = called(node)
    of = name_of(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if to in GIVERS or (to in {"append", "extend", "add"} and HOLDERS.fullmatch(of)):
        yield from chain.from_iterable(map(strings, node.args))
    for keyword in node.keywords:
        if ARGUMENTS.fullmatch(keyword.arg or ""):
            yield from strings(keyword.value)


def returned(node: ast.FunctionDef) -> Iterator[str]:
    for each in ast.walk(node) if HOLDERS.fullmatch(node.name) else ():
        if isinstance(each, ast.Return) and isinstance(each.value, ast.Tuple):
            yield from strings(each.value)


def pairs(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What is assigned to what, also in `a, b = 1, 2`."""
    if node.value is None:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def codes_of_the_modules() -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in {"app", "commands", "render", "report"}:
            found |= {*given(ast.parse(path.read_text("utf-8")))}
    return {word for word in found if CODE.fullmatch(word)} - OTHERS


def codes_of_the_fixtures() -> set[str]:
    lines = [
        json.loads(line)
        for path in (ROOT / "fixtures").rglob("expected.jsonl")
        for line in path.read_text("utf-8").splitlines()
        if line.strip()
    ]
    return {code for line in lines for code in line.get("problems") or ()}


def test_the_modules_are_read_for_their_codes() -> None:
    """What the reading below must find, each given in another way."""
    ways = {"torn-line", "bad-number", "lost", "negative-bucket", "broken-chain", "truncated-body"}
    assert ways | {"perhaps-estimated", "bad-record", "stale-correction"} <= codes_of_the_modules()


def test_every_code_that_a_module_gives_has_words() -> None:
    assert codes_of_the_modules() <= set(CODES)


def test_every_code_of_the_fixtures_has_words() -> None:
    assert codes_of_the_fixtures() | set(SAID_OF_COUNTED) <= set(CODES)


def test_every_code_with_words_is_given_somewhere() -> None:
    texts = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path.name != "codes.py"]
    unused = {code for code in CODES if not any(f'"{code}"' in text for text in texts)}
    assert unused <= {"reader-failed"}


def test_the_words_are_two_short_phrases() -> None:
    for code, (means, effect) in CODES.items():
        for words in (means, effect):
            assert 0 < len(words) <= 60, code
            assert not words.endswith("."), code


def test_the_readme_names_codes_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.partition("## What is odd in the data")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z]+(?:-[a-z]+)*)`", section.partition("Among the codes are")[2])
    assert len(named) > 5
    assert set(named) <= set(CODES)
