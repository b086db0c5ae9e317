"""Audio and images at rates of their own, worked out by hand from the makers' price pages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tallybook.pricing import rates as pricing
from tests.pricing.calls import claude, price_one


@pytest.mark.parametrize(
    ("call", "counts", "media", "cost"),
    [
        # Gemini 2.5 Flash: audio $1, text $0.30 in, $2.50 out.
        (
            "google gemini-2.5-flash 2026-03-01",
            "10100/50/0/0",
            {"audio_input_tokens": 10000},
            "0.010155",
        ),
        # All 4,000 cached are audio, at $0.10; 2,000 audio are fresh.
        (
            "google gemini-2.5-flash 2026-03-01",
            "6000/0/4000/0",
            {"audio_input_tokens": 6000, "cached_audio_input_tokens": 4000},
            "0.0036",
        ),
        # Before October 2025 cached audio cost $0.25.
        (
            "google gemini-2.5-flash 2025-08-01",
            "0/0/4000/0",
            {"audio_input_tokens": 4000, "cached_audio_input_tokens": 4000},
            "0.001",
        ),
        # Gemini 3.1 Pro has one price for all that goes in.
        (
            "google gemini-3.1-pro-preview 2026-05-01",
            "1000/0/0/0",
            {"audio_input_tokens": 400, "image_input_tokens": 500},
            "0.002",
        ),
        # GPT-4o audio: $40 in and $80 out, text $2.50 and $10.
        (
            "openai gpt-4o-audio-preview 2025-06-15",
            "1000/200/0/0",
            {"audio_input_tokens": 900, "audio_output_tokens": 150},
            "0.04875",
        ),
        (
            "openai gpt-4o-audio-preview-2024-10-01 2024-11-15",
            "1000/200/0/0",
            {"audio_input_tokens": 900, "audio_output_tokens": 150},
            "0.12075",
        ),
        (
            "openai gpt-4o-mini-audio-preview 2025-06-15",
            "1000/200/0/0",
            {"audio_input_tokens": 900, "audio_output_tokens": 150},
            "0.012045",
        ),
        # GPT Image 1.5: text $5, image $8 in, image $32 out.
        (
            "openai gpt-image-1.5 2026-06-20",
            "3987/4000/0/0",
            {"image_input_tokens": 3044, "image_output_tokens": 4000},
            "0.157067",
        ),
        # GPT Image 2 makes nothing but images, at $30.
        (
            "openai gpt-image-2 2026-06-20",
            "1000/1000/0/0",
            {"image_output_tokens": 1000},
            "0.035",
        ),
        # Gemini 3 Pro Image: 2,000 image at $120, 677 text and thoughts at $12, 326 in at $2.
        (
            "google gemini-3-pro-image-preview 2026-01-28",
            "326/2677/0/0",
            {"image_output_tokens": 2000},
            "0.248776",
        ),
        # Half of everything in a batch.
        (
            "google gemini-3-pro-image-preview 2026-01-28 batch",
            "326/2677/0/0",
            {"image_output_tokens": 2000},
            "0.124388",
        ),
    ],
)
def test_media_cost_what_their_maker_asks(
    rates: pricing.Rates, call: str, counts: str, media: dict[str, int], cost: str
) -> None:
    row = priced(rates, call, counts, **media)
    assert row["cost"] == row["cost_low"] == row["cost_high"] == Decimal(cost)
    assert row["price_status"] == "priced"
    parts = ("uncached_input_cost", "cached_input_cost", "output_cost")
    assert sum(row[part] for part in parts) == Decimal(cost)


def priced(rates: pricing.Rates, call: str, counts: str, **stated: Any) -> dict[str, Any]:
    provider, model, day, *tier = call.split()
    return price_one(
        rates,
        model,
        **(claude(counts) | stated),
        provider=provider,
        timestamp=datetime.fromisoformat(day).replace(tzinfo=UTC),
        service_tier=next(iter(tier), None),
    )


def test_audio_that_no_list_has_a_price_for_leaves_the_call_unpriced(rates: pricing.Rates) -> None:
    row = priced(rates, "openai gpt-5 2026-03-01", "1000/200/0/0", audio_output_tokens=100)
    assert (row["cost"], row["cost_low"], row["price_status"]) == (None, None, "unpriced")


def test_images_that_a_reseller_has_no_price_for_are_assumed_to_cost_as_text(
    rates: pricing.Rates,
) -> None:
    call = "groq openai/gpt-oss-120b 2026-03-01"
    text = priced(rates, call, "1000/200/0/0")
    row = priced(rates, call, "1000/200/0/0", image_input_tokens=100)
    assert row["cost"] == text["cost"]
    assert (text["price_status"], row["price_status"]) == ("priced", "assumed_list_price")


def test_zeros_change_nothing(rates: pricing.Rates) -> None:
    zeros = {"audio_input_tokens": 0, "audio_output_tokens": 0, "image_output_tokens": 0}
    row = priced(rates, "openai gpt-5 2026-03-01", "1000/200/0/0", **zeros)
    assert (row["cost"], row["price_status"]) == (Decimal("0.00325"), "priced")


def test_audio_of_which_nobody_says_how_much_was_cached_has_bounds(rates: pricing.Rates) -> None:
    """Of 8,000 prompt tokens 3,000 were cached: of 4,000 audio between none and 3,000."""
    row = priced(
        rates, "google gemini-2.5-flash 2026-03-01", "5000/0/3000/0", audio_input_tokens=4000
    )
    # None cached: 1,000 x 0.30 + 4,000 x 1 + 3,000 x 0.03; all: 4,000 x 0.3 + 1,000 + 3,000 x 0.1.
    assert row["cost"] == row["cost_high"] == Decimal("0.00439")
    assert row["cost_low"] == Decimal("0.0025")


def test_audio_in_a_prompt_that_nobody_split_may_all_have_been_cached(
    rates: pricing.Rates,
) -> None:
    unsplit = {
        "uncached_input_tokens": None,
        "cached_input_tokens": None,
        "unsplit_input_tokens": 10100,
    }
    call = "google gemini-2.5-flash 2026-03-01"
    row = priced(rates, call, "0/50/0/0", **unsplit, audio_input_tokens=10000)
    assert row["cost"] == row["cost_high"] == Decimal("0.010155")
    assert row["cost_low"] == Decimal("0.001128")  # 10,000 x 0.1 + 100 x 0.03 + 50 x 2.5
