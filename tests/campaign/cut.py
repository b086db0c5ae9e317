"""Cut: a file that ends anywhere, read as it is, and again when the rest has come."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tallybook.files.sqlite import is_database
from tests.campaign.trial import answer, files_of, put_case, same, some_case


def trial(random: Random, folder: Path) -> str:
    """One fixture, one of its files cut once or twice; what kind of file it was."""
    logs = put_case(some_case(random), folder / "logs")
    files = [path for path in files_of(logs) if path.stat().st_size]
    ledger = folder / "ledger"
    if not files:
        answer(folder, ledger, [logs])
        return "empty"
    path = random.choice(files)
    content = path.read_bytes()
    kind = "database" if is_database(path) else path.suffix or "no suffix"
    for end in sorted(random.randrange(len(content)) for _ in range(random.randint(1, 2))):
        path.write_bytes(content[:end])
        wanted = answer(folder, None, [logs])
        same(answer(folder, ledger, [logs]), wanted, f"a cut {kind} differs in a ledger")
    path.write_bytes(content)
    wanted = answer(folder, None, [logs])
    if kind != "database":  # rows that a cut database showed and a whole one lacks stay, on purpose
        same(answer(folder, ledger, [logs]), wanted, f"a {kind} that went on differs in a ledger")
    return kind
