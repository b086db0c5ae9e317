"""From the names that a log uses to a model of the price list, or to nothing at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tallybook.pricing.clauses import find_model, find_provider, owner
from tallybook.pricing.rules import LOCAL_PROVIDERS
from tallybook.pricing.spellings import PROVIDER_NAMES, Spelling, spellings
from tallybook.pricing.table import Model, Provider

# No model is called like this; beyond it lie prompts and blobs in the wrong field.
_LONGEST: Final = 300

# How the name led to the model.
EXACT: Final = "exact"
ALIAS: Final = "alias"
SUFFIX_REMOVED: Final = "suffix_removed"
PREFIX: Final = "prefix"

# Gateways that name the provider in the model's name.
_GATEWAYS: Final = frozenset({"litellm", "litellm_proxy"})

# Bare names whose maker the price list does not recognise, or recognises as another seller:
# `glm-*` is also sold in China in yuan, and that list comes first.
_OWNERS: Final = (
    (("glm-",), "zai"),
    (("codex-", "chatgpt-", "text-embedding-"), "openai"),
    (("sonar",), "perplexity"),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A model of the price list with the way that led to it."""

    provider: str
    model: Model
    kind: str  # EXACT, ALIAS, SUFFIX_REMOVED or PREFIX
    removed: tuple[str, ...]
    fast: bool  # the name asks for fast mode
    assumed: bool  # the list price of another seller than the stated one
    path: tuple[str, ...]  # in words, for people


class Names:
    """The names of one price list."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = {provider.id: provider for provider in providers}

    def provider_id(self, stated: str | None) -> str | None:
        """Id of the provider that a log calls `stated`; None where the list does not have it."""
        name = (stated or "").strip().lower()
        if not name or "-compatible" in name:
            return None
        found = find_provider(self._providers, PROVIDER_NAMES.get(name, name))
        return found.id if found else None

    def resells(self, seller: str | None, provider: str) -> bool:
        """Whether `seller` sells the models of `provider` at their list prices (both ids)."""
        return seller is not None and provider in self._providers[seller].resells

    def resolve(self, provider: str | None, model: str | None) -> Match | None:
        """The model that `model` at `provider` (both as logged) means, or None."""
        if model is None or not model.strip() or len(model) > _LONGEST:
            return None
        if (provider or "").strip().lower() in _GATEWAYS:
            provider = None
        seller = self.provider_id(provider)
        ways = spellings(model, seller, stated=bool(provider))
        for spelling, place, found in self._candidates(ways):
            hit = find_model(place, spelling.text)
            if hit is not None:
                assumed = self._assumed(provider, seller, spelling, place) or found == "maker"
                return _match(model, spelling, place, hit, assumed)
        return None

    def _candidates(self, ways: list[Spelling]) -> Iterator[tuple[Spelling, Provider, str]]:
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

    def _maker(self, name: str) -> Provider | None:
        for prefixes, provider in _OWNERS:
            if name.startswith(prefixes):
                return self._providers.get(provider)
        return owner(list(self._providers.values()), name)

    def _assumed(
        self, stated: str | None, seller: str | None, spelling: Spelling, place: Provider
    ) -> bool:
        if not stated or spelling.told_by_name:
            return False
        if seller is None:
            return True
        return place.id != seller and not self.resells(seller, place.id)


def is_local(provider: str | None, model: str | None) -> bool:
    """Whether the model ran on the user's own machine. `-cloud` names are the runtime's service."""
    name = (provider or "").strip().lower()
    return name in LOCAL_PROVIDERS and not (model or "").endswith("-cloud")


def _match(
    logged: str, spelling: Spelling, place: Provider, hit: tuple[Model, bool], assumed: bool
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
    return Match(place.id, model, kind, spelling.removed, spelling.fast, assumed, tuple(path))
