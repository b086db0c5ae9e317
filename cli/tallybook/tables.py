"""The Arrow schemas of the rows that tallybook keeps; importing it loads pyarrow."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_TOKENS = pa.int64()
_TEXT = pa.string()
_FLAG = pa.bool_()
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
MONEY: Final = pa.decimal128(38, 15)

REPORTED: Final = pa.schema(
    [
        ("record", pa.int64()),
        ("part", _TEXT),
        ("kind", _TEXT),
        ("evidence", _TEXT),
        ("dialect", _TEXT),
        ("rule", _TEXT),
        ("assumed", pa.list_(_TEXT)),
        ("thread_id", _TEXT),
        ("parent_thread_id", _TEXT),
        ("root_thread_id", _TEXT),
        ("caller", _TEXT),
        ("project", _TEXT),
        ("provider", _TEXT),
        ("model", _TEXT),
        ("model_ahead", _FLAG),
        ("timestamp", TIMESTAMP),
        ("calls", pa.int64()),
        ("identity", _TEXT),
        ("request_id", _TEXT),
        ("response_id", _TEXT),
        ("log_source", _TEXT),
        ("connection_id", _TEXT),
        ("route", _TEXT),
        ("record_id", _TEXT),
        ("chain_id", _TEXT),
        ("segment_id", _TEXT),
        ("sequence", _TEXT),
        ("history", _TEXT),
        ("history_thread_ids", pa.list_(_TEXT)),
        ("foreign_history", _FLAG),
        ("fresh_counter", _FLAG),
        ("running_total", pa.list_(_TOKENS)),
        ("repeat", _TEXT),
        ("is_copy", _FLAG),
        ("sidechain", _FLAG),
        ("finished", _FLAG),
        ("block_index", pa.int64()),
        ("running", _FLAG),
        ("series", _TEXT),
        ("reported_input_tokens", _TOKENS),
        ("reported_cached_tokens", _TOKENS),
        ("reported_cache_creation_tokens", _TOKENS),
        ("reported_cache_creation_5m_tokens", _TOKENS),
        ("reported_cache_creation_1h_tokens", _TOKENS),
        ("reported_output_tokens", _TOKENS),
        ("reported_reasoning_tokens", _TOKENS),
        ("reported_total_tokens", _TOKENS),
        ("difference", _FLAG),
        ("context_tokens", _TOKENS),
        ("service_tier", _TEXT),
        ("speed", _TEXT),
        ("inference_geo", _TEXT),
        ("web_search_requests", pa.int64()),
        ("reported_cost_usd", MONEY),
        ("problems", pa.list_(_TEXT)),
        ("detail", _TEXT),
    ]
)

# The rows of one file, with where they come from.
READ: Final = pa.schema([("source", _TEXT), ("path", _TEXT), *REPORTED])

# What backfill proved of a call: one direction of it, put beside the facts and never into them.
CORRECTIONS: Final = pa.schema(
    [
        ("call_id", _TEXT),
        ("source", _TEXT),
        ("direction", _TEXT),  # "input" or "output"
        ("method", _TEXT),  # "twin", "detail", "response", "events"
        ("recorded", _TEXT),  # the buckets of the direction as they were when it was proved
        ("uncached_input_tokens", _TOKENS),
        ("cached_input_tokens", _TOKENS),
        ("cache_creation_input_tokens", _TOKENS),
        ("cache_creation_1h_input_tokens", _TOKENS),
        ("unsplit_input_tokens", _TOKENS),
        ("output_tokens", _TOKENS),
        ("reasoning_output_tokens", _TOKENS),
        ("evidence_path", _TEXT),
        ("evidence_record", pa.int64()),
        ("evidence_part", _TEXT),
        ("rule", _TEXT),  # how the match was proved
    ]
)
