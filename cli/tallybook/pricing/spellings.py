"""Other spellings of a model's name: what tools, gateways and clouds add to it or turn round."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from tallybook.values import names_in


class Spelling(msgspec.Struct, frozen=True):
    """A way to write a model's name, with what was done to the logged one to get there."""

    text: str  # lower case
    provider: str | None = None  # id in the price list
    stated: bool = False  # the log names a provider, known or not
    told_by_name: bool = False  # the name itself says who sells it
    removed: tuple[str, ...] = ()
    fast: bool = False


# How tools and gateways call providers of the price list.
_CALLED: Final = {
    "anthropic": "claude claude-code",
    "openai": "codex chatgpt",
    "google": "gemini gemini-cli antigravity vertex vertex_ai google-vertex",
    "aws": "bedrock amazon-bedrock",
    "azure": "azure_ai azure_openai azure-openai",
    "github-copilot": "github",
    "x-ai": "xai grok",
    "zai": "z-ai z.ai zai-org glm",
    "zhipuai": "zhipu bigmodel",
    "moonshotai": "kimi moonshot",
    "deepseek": "deepseek-ai",
    "mistral": "mistralai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "alibaba": "qwen qwen-code dashscope aliyun alibaba-cloud modelstudio",
}
PROVIDER_NAMES: Final = {
    name: provider for provider, names in _CALLED.items() for name in names.split()
}
_MAKERS: Final = frozenset(
    names_in(
        "alibaba anthropic cohere deepseek google meta minimax mistral moonshotai openai x-ai zai"
        " zhipuai"
    )
)

_BRACKETS: Final = re.compile(r"^(.+?)\s*(\[[^\]]*\])$")
_MODELS_PATH: Final = re.compile(r"^(?:(?:.*/)?publishers/[^/]+/)?models/(.+)$")
_ARN: Final = re.compile(r"^arn:aws[^/]*/(.+)$")
_BEDROCK: Final = re.compile(
    r"^(?:(?:us|us-gov|eu|apac|ap|global|jp|au|in|ca|regional)\.)?"
    r"(anthropic|amazon|openai|meta|mistral|deepseek|qwen|moonshotai|zai|google|minimax)\.(.+)$"
)
_BEDROCK_VERSION: Final = re.compile(r"-v\d+(?::\d+)?$")
_AT: Final = re.compile(r"^([^@]+)(@(?:20\d{6}|default|latest))$")
_CLAUDE_TURNED: Final = re.compile(r"^claude-(\d+(?:[.-]\d+)?)-([a-z]+)((?:[-@\[:].*)?)$")
_CLAUDE_DOTS: Final = re.compile(r"^(claude-.*?\d)\.(\d)")
_EFFORT: Final = re.compile(r"^(.+?)((?:[-:_]|\s*\()(?:none|minimal|low|medium|high|xhigh)\)?)$")
_THINKING: Final = re.compile(r"^(.*claude-.+?)(-thinking)$")
_CHANNEL: Final = re.compile(r"^(.+?)(:(?:beta|latest|free|thinking))$")
_FAST: Final = re.compile(r"^((?:.*[./])?(?:claude|gpt)-.+)(-fast)$")
_DATE: Final = re.compile(r"^(.+?)([-@:]20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01]))$")


def spellings(name: str, provider: str | None, stated: bool) -> list[Spelling]:
    """Every spelling of `name`, the least changed first.

    `provider` is the id of the stated provider; `stated` says that the log names one at all.
    """
    found = [_first(name.strip().lower(), provider, stated)]
    seen = {(found[0].text, provider)}
    for spelling in found:
        for rule in _RULES:
            for other in rule(spelling):
                if (other.text, other.provider) not in seen:
                    seen.add((other.text, other.provider))
                    found.append(other)
    return found


def _first(text: str, provider: str | None, stated: bool) -> Spelling:
    # Only Vertex AI writes the date of a Claude model behind an @.
    if provider in (None, "anthropic") and text.startswith("claude-") and _AT.match(text):
        return Spelling(text, "google", stated, told_by_name=True)
    return Spelling(text, provider, stated)


def _removing(pattern: re.Pattern[str]) -> Callable[[Spelling], Iterator[Spelling]]:
    def rule(spelling: Spelling) -> Iterator[Spelling]:
        if match := pattern.match(spelling.text):
            yield _without(spelling, match[1], match[2])

    return rule


def _without(spelling: Spelling, rest: str, removed: str) -> Spelling:
    return replace(spelling, text=rest, removed=(*spelling.removed, removed.strip()))


def _path(spelling: Spelling) -> Iterator[Spelling]:
    if match := _ARN.match(spelling.text):
        yield replace(spelling, text=match[1], provider="aws", told_by_name=True)
    elif match := _MODELS_PATH.match(spelling.text):
        yield replace(spelling, text=match[1], provider="google", told_by_name=True)
        yield replace(spelling, text=match[1])


def _prefix(spelling: Spelling) -> Iterator[Spelling]:
    head, slash, rest = spelling.text.partition("/")
    if not slash or not rest or "/models/" in spelling.text:
        return
    provider = PROVIDER_NAMES.get(head, head)
    # A maker's prefix does not say who was paid when the log names the seller.
    told = provider not in _MAKERS or not spelling.stated
    yield replace(spelling, text=rest, provider=provider, told_by_name=told)


def _bedrock(spelling: Spelling) -> Iterator[Spelling]:
    if match := _BEDROCK.match(spelling.text):
        if spelling.provider != "aws":
            yield replace(spelling, provider="aws", told_by_name=True)
        # The bare name has the price of a region, as all regions that the list does not name do.
        if not spelling.text.startswith((match[1], "global.")):
            yield replace(
                spelling, text=f"{match[1]}.{match[2]}", provider="aws", told_by_name=True
            )
        bare = _BEDROCK_VERSION.sub("", match[2])
        yield replace(spelling, text=bare, provider=match[1])


def _claude_turned(spelling: Spelling) -> Iterator[Spelling]:
    if match := _CLAUDE_TURNED.match(spelling.text):
        version = match[1].replace(".", "-")
        text = f"claude-{match[2]}-{version}{match[3]}"
        yield replace(spelling, text=text)


def _claude_dots(spelling: Spelling) -> Iterator[Spelling]:
    if match := _CLAUDE_DOTS.match(spelling.text):
        rest = spelling.text[match.end() :]
        yield replace(spelling, text=f"{match[1]}-{match[2]}{rest}")


def _fast(spelling: Spelling) -> Iterator[Spelling]:
    if match := _FAST.match(spelling.text):
        yield replace(_without(spelling, match[1], match[2]), fast=True)


_RULES: Final = (
    _removing(_BRACKETS),
    _path,
    _prefix,
    _bedrock,
    _removing(_AT),
    _claude_dots,
    _claude_turned,
    _removing(_CHANNEL),
    _removing(_THINKING),
    _removing(_EFFORT),
    _fast,
    _removing(_DATE),
)
