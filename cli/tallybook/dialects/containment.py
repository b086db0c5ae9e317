"""Which count contains which: declared by each dialect, decided where two are possible."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from tallybook.dialects.shape import AMBIGUOUS, FIRM, Shape


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """A way of counting one request; OpenAI's is the one that a declaration departs from.

    `input_holds_cached` and `input_holds_cache_creation`: the stated input count contains the
    tokens read from and written to a cache. `output_holds_reasoning`: the stated output count
    contains the reasoning tokens. `total_is_sum`: a stated total is input plus output plus
    whatever lies outside of the two; else no total is stated, or it leaves those parts out.
    `total_holds_hidden`: what a total has beyond input and output is reasoning stated nowhere
    else. `uses_cache`: the model or its price knows a cache; else all input is uncached.
    `input_hides_cache_creation`: the cache writes in the input were added to it and never stated
    apart, so an input without them may be of either kind.
    """

    input_holds_cached: bool = True
    input_holds_cache_creation: bool = True
    total_is_sum: bool = True
    output_holds_reasoning: bool = True
    total_holds_hidden: bool = False
    uses_cache: bool = True
    input_hides_cache_creation: bool = False


_CACHE_OUTSIDE: Final = Dialect(input_holds_cached=False, input_holds_cache_creation=False)
_THOUGHTS_OUTSIDE: Final = Dialect(output_holds_reasoning=False)
_READS_OUTSIDE: Final = Dialect(input_holds_cached=False, total_is_sum=False)

DIALECTS: Final[dict[str, Dialect]] = {
    "openai": Dialect(),
    # Cache reads and writes outside of the input; a total, where a wrapper adds one, leaves them
    # out.
    "anthropic": replace(_CACHE_OUTSIDE, total_is_sum=False),
    # As Anthropic counts, with a total over all four.
    "bedrock": _CACHE_OUTSIDE,
    "gemini": _THOUGHTS_OUTSIDE,
    "xai": _THOUGHTS_OUTSIDE,
    # Gemini's endpoint in OpenAI's format: thoughts appear in the total only.
    "gemini-openai": Dialect(total_holds_hidden=True),
    # Reasoning outside of the output, and outside of the total too.
    "perplexity": replace(_THOUGHTS_OUTSIDE, total_is_sum=False),
    # Every count for itself.
    "disjoint": replace(_CACHE_OUTSIDE, output_holds_reasoning=False),
    # Embeddings, and units billed without regard to a cache.
    "cacheless": Dialect(uses_cache=False),
    # A program that takes cache reads out of the input before it writes, and leaves writes in.
    "reads-outside": _READS_OUTSIDE,
    # All inside, from a framework that added Anthropic's cache writes and did not keep them apart.
    "writes-within": Dialect(input_hides_cache_creation=True),
    # Reads outside, and writes that the provider stated outside of the input were added to it.
    "writes-hidden": replace(_READS_OUTSIDE, input_hides_cache_creation=True),
}


class StatedCounts(NamedTuple):
    """The stated counts of one usage object."""

    input: int | None
    cached: int | None
    creation: int | None
    output: int | None
    reasoning: int | None
    total: int | None


class Verdict(NamedTuple):
    """A dialect, the directions in which it is a guess, and whether the input cannot be split."""

    dialect: str
    assumed: tuple[str, ...] = ()
    ambiguous: bool = False


def decide(shape: Shape, counts: StatedCounts, provider: str | None) -> Verdict:
    """Picks among the dialects of a shape: by the provider, else by the numbers that they fit.

    Where none fits the first one stands, and its contradiction shows as a problem later on.
    """
    prior = shape.dialects[0]
    if len(shape.dialects) == 1:
        return Verdict(prior)
    hinted = shape.hints.get(provider.lower()) if provider else None
    if hinted is not None and fits(DIALECTS[hinted], counts):
        return Verdict(hinted)
    if shape.doubt == FIRM and hinted is None and fits(DIALECTS[prior], counts):
        return Verdict(prior)
    fitting = [name for name in shape.dialects if fits(DIALECTS[name], counts)]
    if fitting:
        return _among(shape, fitting, counts)
    if _OUTSIDE in shape.dialects and _is_too_large(DIALECTS[hinted or prior], counts):
        return Verdict(_OUTSIDE, ("input",))
    return Verdict(hinted or prior)


_OUTSIDE: Final = "bedrock"  # whose total shows that something else is wrong


def _is_too_large(dialect: Dialect, counts: StatedCounts) -> bool:
    """Whether the caches are more than the input that should hold them."""
    return (
        dialect.input_holds_cached
        and counts.input is not None
        and _inside(dialect, counts) > counts.input
    )


def _inside(dialect: Dialect, counts: StatedCounts) -> int:
    cached, creation = counts.cached or 0, counts.creation or 0
    return cached * dialect.input_holds_cached + creation * dialect.input_holds_cache_creation


def _among(shape: Shape, fitting: list[str], counts: StatedCounts) -> Verdict:
    first = fitting[0]
    differing = {
        direction
        for name in fitting[1:]
        for direction in _differences(DIALECTS[first], DIALECTS[name], counts)
    }
    if DIALECTS[first].total_holds_hidden and counts.reasoning is None:
        return Verdict(first, ("output",))
    if shape.doubt == FIRM and _is_outside(DIALECTS[shape.dialects[0]], DIALECTS[first], counts):
        return Verdict(first, ("input",))
    if not differing or shape.doubt == FIRM:
        return Verdict(first)
    if shape.doubt == AMBIGUOUS and "input" in differing:
        return Verdict("openai", ("output",) if "output" in differing else (), ambiguous=True)
    return Verdict(first, tuple(sorted(differing)))


def fits(dialect: Dialect, counts: StatedCounts) -> bool:
    """Whether no part is larger than what holds it, and a total is what it should be."""
    cached, creation, reasoning = counts.cached or 0, counts.creation or 0, counts.reasoning or 0
    inside = _inside(dialect, counts)
    if counts.input is not None and inside > counts.input:
        return False
    stated = counts.output
    if dialect.output_holds_reasoning and stated is not None and reasoning > stated:
        return False
    if counts.total is None or counts.input is None or stated is None:
        return not dialect.total_holds_hidden
    rest = counts.total - counts.input - stated
    if dialect.total_holds_hidden:
        return rest > 0 and counts.reasoning is None
    if not dialect.total_is_sum:
        return rest == 0
    return rest == cached + creation - inside + reasoning * (not dialect.output_holds_reasoning)


def _differences(one: Dialect, other: Dialect, counts: StatedCounts) -> tuple[str, ...]:
    """The directions whose buckets would not be the same."""
    cached = counts.cached and one.input_holds_cached != other.input_holds_cached
    creation = counts.creation and (
        one.input_holds_cache_creation != other.input_holds_cache_creation
    )
    reasoning = counts.reasoning and one.output_holds_reasoning != other.output_holds_reasoning
    return (*(["input"] if cached or creation else []), *(["output"] if reasoning else []))


def _is_outside(prior: Dialect, found: Dialect, counts: StatedCounts) -> bool:
    """Whether caches are taken to lie outside for no other reason than that they are too large."""
    moved = prior.input_holds_cached and not found.input_holds_cached
    return moved and not (found.total_is_sum and counts.total is not None)
