"""Finds the entry of the price list that a name in a log means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tallybook.pricing.spellings import PROVIDER_NAMES, Spelling, spellings
from tallybook.pricing.table import Clause, Fee, Model, Seller

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


def find_model(provider: Seller, name: str) -> tuple[Model, bool] | None:
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


# No model is called like this; beyond it lie prompts and blobs in the wrong field.
_LONGEST: Final = 300

# How the name led to the model.
EXACT: Final = "exact"
ALIAS: Final = "alias"
SUFFIX_REMOVED: Final = "suffix_removed"
PREFIX: Final = "prefix"

# Gateways that name the provider in the model's name.
GATEWAYS: Final = frozenset({"litellm", "litellm_proxy"})

# Bare names whose maker the price list does not recognise, or recognises as another seller:
# `glm-*` is also sold in China in yuan, and that list comes first.
_OWNERS: Final = (
    (("glm-",), "zai"),
    (("codex-", "chatgpt-", "text-embedding-"), "openai"),
    (("sonar",), "perplexity"),
)


class Match(msgspec.Struct, frozen=True):
    """A model of the price list with the way that led to it."""

    provider: str
    model: Model
    kind: str  # EXACT, ALIAS, SUFFIX_REMOVED or PREFIX
    fast: bool  # the name asks for fast mode
    assumed: bool  # the list price of another seller than the stated one
    path: tuple[str, ...]  # in words, for people


class Names:
    """The names of one price list."""

    def __init__(self, providers: Sequence[Seller]) -> None:
        self._providers = {provider.id: provider for provider in providers}

    def listed(self) -> Iterator[tuple[str, Model]]:
        """Every model with the id of the provider that sells it."""
        for provider in self._providers.values():
            for model in provider.models:
                yield provider.id, model

    def provider_id(self, stated: str | None) -> str | None:
        """Id of the provider that a log calls `stated`; None where the list does not have it."""
        name = (stated or "").strip().lower()
        if not name or "-compatible" in name:
            return None
        name = PROVIDER_NAMES.get(name, name)
        if name in self._providers:
            return name
        return next((p.id for p in self._providers.values() if holds(p.named, name)), None)

    def fees(self, provider: str, model: str) -> tuple[Fee, ...]:
        """What a provider asks for tools that a model of its ran (both ids)."""
        place = self._providers.get(provider)
        fees = place.fees if place is not None else ()
        return tuple(fee for fee in fees if not fee.models or model in fee.models)

    def resells(self, seller: str | None, provider: str) -> bool:
        """Whether `seller` sells the models of `provider` at their list prices (both ids)."""
        return seller is not None and provider in self._providers[seller].resells

    def resolve(self, provider: str | None, model: str | None) -> Match | None:
        """The model that `model` at `provider` (both as logged) means, or None."""
        if model is None or not model.strip() or len(model) > _LONGEST:
            return None
        if (provider or "").strip().lower() in GATEWAYS:
            provider = None
        seller = self.provider_id(provider)
        ways = spellings(model, seller, stated=bool(provider))
        for spelling, place, found in self._candidates(ways):
            hit = find_model(place, spelling.text)
            if hit is not None:
                assumed = self._assumed(provider, seller, spelling, place) or found == "maker"
                return _match(model, spelling, place, hit, assumed)
        return None

    def _candidates(self, ways: list[Spelling]) -> Iterator[tuple[Spelling, Seller, str]]:
        """Where to look for which spelling: at the seller's first, then at the maker's."""
        for spelling in ways:
            place = self._providers.get(spelling.provider or "")
            if place is not None:
                for each in (place.id, *place.resells):
                    yield spelling, self._providers[each], "seller"
            elif spelling.provider is None and (maker := self._maker(spelling.text)):
                yield spelling, maker, "owner"
        for spelling in ways:
            maker = self._maker(spelling.text)
            if spelling.provider is not None and maker is not None:
                yield spelling, maker, "maker"

    def _maker(self, name: str) -> Seller | None:
        for prefixes, provider in _OWNERS:
            if name.startswith(prefixes):
                return self._providers.get(provider)
        return next((p for p in self._providers.values() if holds(p.owns, name)), None)

    def _assumed(
        self, stated: str | None, seller: str | None, spelling: Spelling, place: Seller
    ) -> bool:
        if not stated or spelling.told_by_name:
            return False
        if seller is None:
            return True
        return place.id != seller and not self.resells(seller, place.id)


def _match(
    logged: str, spelling: Spelling, place: Seller, hit: tuple[Model, bool], assumed: bool
) -> Match:
    model, left_over = hit
    if spelling.removed:
        kind = SUFFIX_REMOVED
    elif left_over:
        kind = PREFIX
    else:
        kind = EXACT if logged.strip().lower() == model.id.lower() else ALIAS
    path = [f"logged as {logged}"]
    path += [f"without {suffix}" for suffix in spelling.removed]
    if spelling.text != logged:
        path.append(f"read as {spelling.text}")
    path.append(f"{kind.replace('_', ' ')} match: {model.id} of {place.id}")
    if assumed:
        path.append("not the stated provider's own price")
    return Match(place.id, model, kind, spelling.fast, assumed, tuple(path))
