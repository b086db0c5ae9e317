"""What a generated corpus adds up to, known by construction and kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE_NAME = "truth.json"


@dataclass
class Tally:
    """Calls of one model and their disjoint buckets, in tokens."""

    calls: int = 0
    uncached_input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0

    def add(self, other: Tally) -> None:
        for column in fields(self):
            mine = getattr(self, column.name) + getattr(other, column.name)
            setattr(self, column.name, mine)


@dataclass
class Truth:
    """Totals per model of a corpus, with how it was made and how large it is."""

    options: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Tally] = field(default_factory=dict)
    files: int = 0
    lines: int = 0
    usage_lines: int = 0
    size: int = 0  # bytes
    appends: int = 0

    def count(self, model: bytes, call: Tally) -> None:
        """Count one call of a model."""
        self.models.setdefault(model.decode(), Tally()).add(call)

    def totals(self) -> Tally:
        """Add up all models."""
        total = Tally()
        for tally in self.models.values():
            total.add(tally)
        return total

    def document(self) -> dict[str, Any]:
        """Return everything as plain values, models by name."""
        return asdict(self) | {
            "models": {name: asdict(self.models[name]) for name in sorted(self.models)},
            "totals": asdict(self.totals()),
        }

    def save(self, corpus: Path) -> None:
        text = json.dumps(self.document(), indent=2)
        (corpus / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def load_truth(corpus: Path) -> Truth:
    """Read the truth beside a corpus; FileNotFoundError if the folder is no corpus."""
    document = json.loads((corpus / FILE_NAME).read_text(encoding="utf-8"))
    document.pop("totals")
    models = {name: Tally(**tally) for name, tally in document.pop("models").items()}
    return Truth(models=models, **document)
