"""The JSON Schema of a price file, for editors of TOML that complete and check what is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallybook.pricing.price_file import KEYS, TIER_KEYS

_WORDS: Final[Mapping[str, str]] = {
    "provider": "Who sells it, as a log names them; without it, at any provider.",
    "model": "As a log spells it, or as the price list does.",
    "from": "The name in the log.",
    "to": "The model that is priced instead.",
    "factor": "What all listed prices are multiplied with: 0.85 is fifteen per cent off.",
    "valid_from": "The first moment that it holds: a day (midnight UTC) or a time with an offset.",
    "valid_to": "The first moment that it no longer holds.",
    "tiers": "Other rates for the whole of a prompt of more tokens than `above`.",
    "above": "Tokens of a prompt, whatever of it was cached.",
    "currency": "The code of a [[currency]], or credits; default: dollars.",
    "code": "What prices in it are marked with, such as EUR.",
    "usd": "What one of it costs in dollars.",
    "note": "For yourself.",
    "web_search": "Per thousand searches.",
}
_PERIODS: Final = frozenset({"valid_from", "valid_to"})
_TEXTS: Final = frozenset({"provider", "model", "from", "to", "currency", "code", "note"})
_NEEDED: Final[Mapping[str, list[str]]] = {
    "price": ["model"],
    "alias": ["from", "to"],
    "discount": ["provider", "factor"],
    "free": ["provider"],
    "currency": ["code", "usd"],
    "credit": ["usd"],
}
_TITLES: Final[Mapping[str, str]] = {
    "price": "Instead of the listed price, or of a model that no list has.",
    "alias": "A deployment is priced as the model behind it.",
    "discount": "On all listed prices of a provider; 1.1 is a surcharge.",
    "free": "A provider that costs nothing.",
    "currency": "What one of it costs in dollars, by period.",
    "credit": "What a credit of a provider costs in dollars, by period.",
}


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of the document that a price file is."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prices for tallybook",
        "type": "object",
        "additionalProperties": False,
        "properties": {section: {"type": "array", "items": _entry(section)} for section in KEYS},
    }


def _entry(section: str) -> dict[str, Any]:
    return {
        "description": _TITLES[section],
        "type": "object",
        "additionalProperties": False,
        "required": _NEEDED[section],
        "properties": {key: _key(key) for key in KEYS[section]},
    }


def _key(key: str) -> dict[str, Any]:
    words = _WORDS.get(key, "Per million tokens.")
    if key in _TEXTS:
        return {"description": words, "type": "string", "minLength": 1}
    if key in _PERIODS:
        return {"description": words, "type": "string"}  # a date of TOML is text to a schema
    if key == "above":
        return {"description": words, "type": "integer", "minimum": 1}
    if key == "tiers":
        tier = {
            "type": "object",
            "additionalProperties": False,
            "required": ["above"],
            "properties": {each: _key(each) for each in TIER_KEYS},
        }
        return {"description": words, "type": "array", "items": tier}
    return {"description": words, "type": "number", "minimum": 0, "maximum": 1_000_000}
