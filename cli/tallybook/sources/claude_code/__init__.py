"""Claude Code: session transcripts, and what `claude -p` prints as JSON."""

from __future__ import annotations

from typing import Final

from tallybook.sources.contract import Later, Location, Source

__all__ = ["SOURCE"]

SOURCE: Final = Source(
    name="claude-code",
    title="Claude Code",
    locations=(
        Location(
            variable="CLAUDE_CONFIG_DIR",
            roots=("$XDG_CONFIG_HOME/claude", "~/.claude"),
            folders=("projects",),
        ),
        # The desktop program keeps a configuration folder for each of its local runs.
        Location(
            variable=None,
            roots=(
                "$XDG_CONFIG_HOME/Claude/local-agent-mode-sessions",
                "~/Library/Application Support/Claude/local-agent-mode-sessions",
                "~/AppData/Roaming/Claude/local-agent-mode-sessions",
            ),
        ),
    ),
    patterns=("*.jsonl", "*.json"),
    sniff=Later("tallybook.sources.claude_code.sniff", "sniff"),
    begin=Later("tallybook.sources.claude_code.reader", "begin"),
    read=Later("tallybook.sources.claude_code.reader", "read"),
    finish=Later("tallybook.sources.claude_code.reader", "finish"),
    mark=rb'\{"parentUuid": ?(?:null|"[-\w]{1,64}"), ?"isSidechain": ?(?:true|false),'
    rb'[^\n]*?"sessionId": ?"',
    holds=("pending",),
    ignores=(
        "journal.jsonl",
        "history.jsonl",
        "*.meta.json",
        "*/workflows/wf_*.json",
        # Only where the client puts them: others name a folder of logs so, or one above it.
        "????????-????-????-????-????????????/tool-results/*",
        "projects/-*/memory/*",
        "projects/[A-Z]--*/memory/*",
        "*.claude/todos/*",
        "*.claude/file-history/*",
        "custom-title.json",
        "sessions-index.json",
        "settings*.json",
        "*.claude/sessions/*.json",
        ".claude.json*",
    ),
    states_totals=True,
    accompanied=("agent-*.jsonl*",),
    neighbour=Later("tallybook.sources.claude_code.sniff", "neighbour"),
)
