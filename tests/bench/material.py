"""Seeded raw material of the corpus: texts already escaped for JSON, times and ids, as bytes."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from random import Random

DAY_MS = 86_400_000
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

PROSE = (
    "parser buffer index token stream column schema reader writer branch commit module import "
    "return value error warning cache total output input request response thread worker queue "
    "batch block line field record table report price rate month day hour window limit offset "
    "merge split sort filter group count check test fixture golden build install deploy release "
    "version config option default path folder file name label digest hash key type shape size"
)
WORDS = PROSE.split()
# What breaks careless readers: escapes, other scripts, a line separator that JSON leaves raw,
# and text that looks like a usage record.
ODDITIES = (
    "naïve café, coût 3 €",
    "日本語のログを読む",
    "строка журнала",
    "→ ✓ 🙂 👩‍💻",
    "C:\\tmp\\new\\report.txt",
    "he wrote \"yes\" and 'no'",
    "\x1b[32mok\x1b[0m \x1b[1mbold\x1b[0m",
    "col\tcol\tcol",
    "before\u2028after",
    '{"type":"assistant","message":{"usage":{"input_tokens":3,"output_tokens":5}}}',
    '"usage": {"input_tokens": 11, "cached_input_tokens": 7}',
    "https://example.org/a?b=1&c=2#d",
)


@lru_cache(maxsize=512)
def _day(day: int) -> bytes:
    return date.fromordinal(EPOCH_ORDINAL + day).isoformat().encode()


def iso(ms: int) -> bytes:
    """Format Unix milliseconds as both tools write them: 2026-02-03T12:00:00.050Z."""
    day, rest = divmod(ms, DAY_MS)
    seconds, milli = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return b"%bT%02d:%02d:%02d.%03dZ" % (_day(day), *divmod(minutes, 60), second, milli)


def uuid4(rng: Random) -> bytes:
    digits = b"%032x" % rng.getrandbits(128)
    return b"-".join(
        (digits[:8], digits[8:12], b"4" + digits[13:16], b"a" + digits[17:20], digits[20:])
    )


def uuid7(rng: Random, ms: int) -> bytes:
    stamp = b"%012x" % ms
    digits = b"%018x" % rng.getrandbits(72)
    return b"-".join((stamp[:8], stamp[8:], b"7" + digits[:3], b"9" + digits[3:6], digits[6:]))


def opaque(rng: Random, digits: int) -> bytes:
    """Make an id part of that many hexadecimal digits."""
    return b"%0*x" % (digits, rng.getrandbits(4 * digits))


@dataclass(frozen=True)
class Texts:
    """Pools of JSON-escaped text; `notes` under 1 KB, `bodies` 1-40 KB, `outputs` about 1 MB.

    `bodies` are sorted by size, so that a small file can keep to the small ones.
    """

    notes: list[bytes]
    bodies: list[bytes]
    sizes: list[int]
    outputs: list[bytes]
    ciphers: list[bytes]

    def upto(self, limit: int) -> list[bytes]:
        """Return the bodies of at most `limit` bytes, or the notes if even those are too big."""
        if limit >= self.sizes[-1]:
            return self.bodies
        fitting = bisect_right(self.sizes, limit)
        return self.bodies[:fitting] if fitting >= 20 else self.notes


def _phrase(rng: Random) -> str:
    words = " ".join(rng.choices(WORDS, k=rng.randint(3, 14)))
    form = rng.randrange(6)
    if form == 0:
        return f"    {words.replace(' ', '_', 2)} = {rng.randrange(10**6)}  # {rng.choice(WORDS)}"
    if form == 1:
        return f"src/{words.replace(' ', '/', 3)}.py:{rng.randrange(900)}: {rng.choice(WORDS)}"
    if form == 2:
        return f'{{"{rng.choice(WORDS)}": "{words}", "n": {rng.random():.6f}}}'
    if form == 3 and rng.random() < 0.3:
        return f"{words} {rng.choice(ODDITIES)}"
    return words


def _text(rng: Random, phrases: list[str], size: int) -> bytes:
    lines = rng.choices(phrases, k=max(1, size // 55))
    text = "\n".join(lines)[:size]
    return json.dumps(text, ensure_ascii=rng.random() < 0.1)[1:-1].encode()


def _body_size(rng: Random) -> int:
    return min(max(int(rng.lognormvariate(math.log(2_500), 1.0)), 1_000), 40_000)


def build_texts(seed: int) -> Texts:
    """Build the pools of a seed; about 8 MB in all."""
    rng = Random(f"{seed}/texts")
    phrases = [_phrase(rng) for _ in range(4_000)]
    bodies = sorted((_text(rng, phrases, _body_size(rng)) for _ in range(900)), key=len)
    return Texts(
        notes=[_text(rng, phrases, rng.randint(20, 600)) for _ in range(400)],
        bodies=bodies,
        sizes=[len(body) for body in bodies],
        outputs=[_text(rng, phrases, rng.randint(700_000, 1_300_000)) for _ in range(3)],
        ciphers=[b"gAAAA" + opaque(rng, rng.randint(600, 4_000)) for _ in range(100)],
    )
