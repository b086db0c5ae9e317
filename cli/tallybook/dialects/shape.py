"""What a declaration of a usage shape consists of."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallybook.values import names_in

# A step is a key, an index, or (key, value): the element of a list whose `key` is that value.
Step = str | int | tuple[str, str]
Path = tuple[Step, ...]
Paths = tuple[Path, ...]

# What to do where more than one of a shape's dialects fits the numbers.
FIRM: Final = "firm"  # the first that fits
ASSUMED: Final = "assumed"  # the first that fits, and say that it is a guess
AMBIGUOUS: Final = "ambiguous"  # leave the input unsplit

# How logs call who served a request, by how usage is counted there; in lower case.
CLAUDE: Final = names_in("anthropic claude claude-code aws bedrock amazon-bedrock vertex-anthropic")
GOOGLE: Final = names_in("google gemini gemini-cli google-genai google-vertex vertex vertex_ai")
XAI: Final = names_in("xai x-ai grok")
OPENAI: Final = names_in(
    "openai azure azure-openai codex deepseek fireworks glm groq kimi minimax mistral moonshot"
    " moonshotai openrouter qwen together zai"
)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One usage shape: the keys that tell it, where its counts lie, how they may be contained.

    A shape is told by any one of `keys` being there in full, none of `without`, one of the paths
    of `within`, if it has any, and the two paths of `agree` leading to the same number. Of several
    paths to a count the first that leads to more than zero is taken: providers say the same number
    twice, or leave a zero in one of the places.
    `tools` is whose way of telling of tools is in use, see `tools_in_usage`. `added_input` is
    counted on top of the input; `uncached` is what of the input came from no cache, from which a
    missing count follows. `dialects` are those that these keys are in use with, `hints` which one a
    provider uses, and `doubt` what to do where several fit.
    `folds_writes`: who restates counts in this shape adds Anthropic's cache writes to the input,
    and may not keep them apart. `total_tells_output`: an output left out is zero where the total
    proves it.
    """

    rule: str
    keys: tuple[frozenset[str], ...]
    dialects: tuple[str, ...]
    without: frozenset[str] = frozenset()
    within: Paths = ()
    agree: Paths = ()
    doubt: str = FIRM
    hints: Mapping[str, str] = {}
    input: Paths = ()
    added_input: Paths = ()
    uncached: Paths = ()
    cached: Paths = ()
    creation: Paths = ()
    creation_5m: Paths = ()
    creation_1h: Paths = ()
    output: Paths = ()
    reasoning: Paths = ()
    total: Paths = ()
    total_tells_output: bool = False
    folds_writes: bool = False
    service_tier: Paths = ()
    speed: Paths = ()
    inference_geo: Paths = ()
    web_searches: Paths = ()
    tools: str = ""
    media: tuple[Paths, ...] = ()  # a place for each of schema.MEDIA_COUNTS
    cost: Paths = ()
    cost_unit: Decimal = Decimal(1)  # US dollars
    own_key: Paths = ()  # true: the cost is a fee, and `own_key_cost` comes on top of it
    own_key_cost: Paths = ()

    def may_have(self, keys: frozenset[str]) -> bool:
        """Whether a usage object with these keys may be of this shape."""
        return self.without.isdisjoint(keys) and any(some <= keys for some in self.keys)


def media_at(
    given: Paths,
    cached: Paths,
    made: Paths,
    audio: Path = ("audio_tokens",),
    image: Path = ("image_tokens",),
) -> tuple[Paths, ...]:
    """Places in the order of schema.MEDIA_COUNTS.

    `given`, `cached` and `made` lead to the details of the prompt, of its cached part and of the
    output; `audio` and `image` lead on from each of them.
    """
    prompt = [(paths, key) for key in (audio, image) for paths in (given, cached)]
    places = (*prompt, (made, audio), (made, image))
    return tuple(tuple((*path, *key) for path in paths) for paths, key in places)


def any_of(*alternatives: str) -> tuple[frozenset[str], ...]:
    """Sets of keys that must be there together, each written with spaces between its keys."""
    return tuple(frozenset(names_in(keys)) for keys in alternatives)


def at(*paths: str) -> Paths:
    """Paths written with slashes between their steps; a number is an index."""
    return tuple(
        tuple(int(step) if step.isdigit() else step for step in path.split("/")) for path in paths
    )


def fetch(usage: Any, paths: Paths) -> Any:
    """The first value that is stated at one of `paths`, else None."""
    for path in paths:
        value = follow(usage, path)
        if value is not None:
            return value
    return None


def follow(value: Any, path: Path) -> Any:
    """The value at the end of `path`; None where it leads nowhere."""
    for step in path:
        if value.__class__ is dict:
            value = value.get(step)
        elif value is None:
            return None
        elif isinstance(value, list):
            value = _element(value, step)
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _element(values: list[Any], step: Step) -> Any:
    if isinstance(step, int):
        return values[step] if step < len(values) else None
    if isinstance(step, tuple):
        key, wanted = step
        found = (v for v in values if isinstance(v, Mapping) and v.get(key) == wanted)
        return next(found, None)
    return None
