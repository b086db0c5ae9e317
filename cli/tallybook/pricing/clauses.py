"""Matching a model name against a provider's list, refusing names that merely begin alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tallybook.pricing.table import Clause, Model, Provider

# What may follow a model's name without making it another model: a date, a revision, a channel.
_HARMLESS: Final = re.compile(
    r"(?:[-@:](?:"
    r"20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # 20250929, 2025-09-29
    r"|2[3-9](?:0[1-9]|1[0-2])"  # 2509
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # 0905
    r"|0\d{2}"  # 001
    r"|latest"
    r"|preview(?:-\d{2}-(?:\d{2}|20\d{2}))?"  # preview-05-20, preview-09-2025
    r"|v\d+(?::\d+)?"  # v1:0
    r")|\[1m\])$"
)
# What may stand before a model's name: a region, a maker, a path.
_LEAD: Final = re.compile(r"[./:]$")
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=-|:|$)")


def holds(clause: Clause | None, name: str) -> bool:
    """Whether the clause is true of `name` (lower case)."""
    return clause is not None and _reach(clause, name, lead_matters=False) is not None


def find_model(provider: Provider, name: str) -> tuple[Model, bool] | None:
    """The provider's first model whose clauses speak for the whole of `name` (lower case).

    Failing that, the model with that very id.
    The flag tells that a harmless rest, such as a date, was left over.
    """
    for candidate in (name, _COMPACT_DATE.sub(r"-\1-\2-\3", name)):
        core = len(_core(candidate))
        for model in provider.models:
            if candidate in model.equals:
                return model, False
            reaches = [_reach(clause, candidate) for clause in model.clauses]
            reach = max((r for r in reaches if r is not None), default=-1)
            if reach >= core:
                return model, reach < len(candidate) and candidate != model.id.lower()
    return next(((model, False) for model in provider.models if model.id.lower() == name), None)


def _core(name: str) -> str:
    while (shorter := _HARMLESS.sub("", name)) != name:
        name = shorter
    return name


def _reach(clause: Clause, name: str, lead_matters: bool = True) -> int | None:
    """How much of `name` the clause has looked at, from its start; None where it is false."""
    if clause.operator == "|":
        found = [_reach(part, name, lead_matters) for part in clause.parts]
        return max((reach for reach in found if reach is not None), default=None)
    if clause.operator == "&":
        reaches = [_reach(part, name, lead_matters) for part in clause.parts]
        return None if None in reaches else max(r for r in reaches if r is not None)
    if clause.operator == "r":
        match = re.search(clause.text, name)
        return match.end() if match else None
    return _reach_of_text(clause, name, lead_matters)


def _reach_of_text(clause: Clause, name: str, lead_matters: bool) -> int | None:
    text = clause.text
    if clause.operator == "=":
        return len(name) if name == text else None
    if clause.operator == "^":
        return len(text) if name.startswith(text) else None
    at = len(name) - len(text) if clause.operator == "$" else name.find(text)
    if at < 0 or not name.startswith(text, at):
        return None
    if lead_matters and at and not _LEAD.search(name[:at]) and not _LEAD.match(text):
        return None
    return at + len(text)


def find_provider(providers: Mapping[str, Provider], name: str) -> Provider | None:
    """The provider that a lower-case name means, by id or else by how it is named elsewhere."""
    if name in providers:
        return providers[name]
    return next((p for p in providers.values() if holds(p.named, name)), None)


def owner(providers: Sequence[Provider], name: str) -> Provider | None:
    """The provider whose own models are called like the bare, lower-case `name`."""
    return next((provider for provider in providers if holds(provider.owns, name)), None)
