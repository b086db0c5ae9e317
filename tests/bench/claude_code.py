"""Claude Code transcripts for the corpus: sessions, their sub-agents, branches and old resumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .material import Texts, iso, opaque, uuid4
from .sink import Sink
from .truth import Tally, Truth

LEAD_MODELS = (b"claude-opus-4-5-20251101", b"claude-sonnet-4-5-20250929")
AGENT_MODELS = (b"claude-haiku-4-5-20251001", b"claude-sonnet-4-5-20250929")
AGENT_TYPES = (b"general-purpose", b"Explore", b"Plan", b"code-reviewer")
# Until early April 2026 only the last line of a response had its final output count.
FINAL_COUNTS_SINCE_MS = 1_775_600_000_000
COPY_BYTES = 400_000  # at most so much of a session is kept for later copies
FULL_CONTEXT = 165_000  # below the 200K prompt tier, and about where the client compacts

USAGE = (
    b'"usage":{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,'
    b'"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},'
    b'"output_tokens":%d,"service_tier":"standard","inference_geo":"not_available"}'
)
TOOLS = (b"Bash", b"Read", b"Grep", b"Edit", b"Write")


@dataclass
class Session:
    """What is known of a transcript: enough to continue, branch or attach an agent to it."""

    path: Path
    session_id: bytes
    cwd: bytes
    version: bytes
    model: bytes
    clock: int  # Unix milliseconds of the latest line
    last_uuid: bytes = b""
    context: int = 0  # prompt tokens of the next request that a cache may hold
    one_hour: bool = False
    agent_id: bytes = b""
    # The first lines as (uuid, before the session id, after it); None where nobody will copy them.
    kept: list[tuple[bytes, bytes, bytes]] | None = None
    kept_bytes: int = 0


@dataclass
class Writer:
    """Writes one transcript into its sink and counts what it spends."""

    rng: Random
    texts: Texts
    truth: Truth
    sink: Sink
    session: Session
    bodies: list[bytes] = field(default_factory=list)
    large_outputs: bool = False

    def conversation(self, body: bytes, *, usage: bool = False) -> None:
        """Write one line of the conversation; `body` is what follows the envelope."""
        session, rng = self.session, self.rng
        session.clock += rng.randrange(40, 2_500)
        uuid = uuid4(rng)
        parent = b'"%b"' % session.last_uuid if session.last_uuid else b"null"
        agent = b'"agentId":"%b",' % session.agent_id if session.agent_id else b""
        head = (
            b'{"parentUuid":%b,"isSidechain":%b,%b"userType":"external","cwd":"%b","sessionId":"'
            % (parent, b"true" if agent else b"false", agent, session.cwd)
        )
        tail = b'","version":"%b","gitBranch":"main",%b,"uuid":"%b","timestamp":"%b"}\n' % (
            session.version, body, uuid, iso(session.clock),
        )  # fmt: skip
        session.last_uuid = uuid
        self.sink.line(head + session.session_id + tail, usage=usage)
        self._keep(uuid, head, tail)

    def _keep(self, uuid: bytes, head: bytes, tail: bytes) -> None:
        session = self.session
        if session.kept is not None and session.kept_bytes < COPY_BYTES:
            session.kept.append((uuid, head, tail))
            session.kept_bytes += len(head) + len(tail)

    def metadata(self, line: bytes) -> None:
        """Write a line outside the conversation."""
        self.sink.line(line + b"\n")

    def prompt(self) -> None:
        text = self.rng.choice(self.bodies if self.rng.random() < 0.1 else self.texts.notes)
        self.conversation(b'"type":"user","message":{"role":"user","content":"%b"}' % text)

    def spend(self) -> tuple[Tally, bytes]:
        """Draw the counts of one response; returns them and the usage with a place for output."""
        rng, session = self.rng, self.session
        if session.context > FULL_CONTEXT:
            self._compact()
        cold = session.context == 0 or rng.random() < 0.03
        created = rng.randrange(150, 6_000) + (session.context or 14_000) * cold
        long_lived = created if session.one_hour else 0
        call = Tally(
            calls=1,
            uncached_input_tokens=rng.randrange(1, 12),
            cached_input_tokens=0 if cold else session.context,
            cache_creation_input_tokens=created,
            cache_creation_1h_input_tokens=long_lived,
            output_tokens=min(int(rng.lognormvariate(5.6, 1.1)) + 9, 16_000),
        )
        session.context = call.cached_input_tokens + created
        self.truth.count(session.model, call)
        usage = USAGE.replace(b'"output_tokens":%d', b'"output_tokens":%%d') % (
            call.uncached_input_tokens, created, call.cached_input_tokens,
            created - long_lived, long_lived,
        )  # fmt: skip
        return call, usage

    def _compact(self) -> None:
        self.conversation(
            b'"type":"system","subtype":"compact_boundary","content":"Conversation compacted",'
            b'"isMeta":false,"compactMetadata":{"trigger":"auto","preTokens":%d}'
            % self.session.context
        )
        self.conversation(
            b'"type":"user","message":{"role":"user","content":"%b"},"isCompactSummary":true'
            % self.rng.choice(self.bodies)
        )
        self.session.context = 0

    def respond(self, *, last: bool = False) -> None:
        """Write one response, a line for each content block, and what its tools returned."""
        rng = self.rng
        call, usage = self.spend()
        blocks = self._blocks(last)
        message_id, request_id = b"msg_01" + opaque(rng, 22), b"req_011" + opaque(rng, 22)
        final = self.session.clock >= FINAL_COUNTS_SINCE_MS
        for at, block in enumerate(blocks):
            ends = at == len(blocks) - 1
            stop = b'"end_turn"' if last else b'"tool_use"'
            output = call.output_tokens
            if not (ends or final):
                stop, output = b"null", min(output, rng.randrange(1, 9))
            self.conversation(
                b'"message":{"model":"%b","id":"%b","type":"message","role":"assistant","content":'
                b'[%b],"stop_reason":%b,"stop_sequence":null,%b},"requestId":"%b",'
                b'"type":"assistant"'
                % (self.session.model, message_id, block, stop, usage % output, request_id),
                usage=True,
            )
        for block in blocks:
            if b'"type":"tool_use"' in block:
                self._result()

    def _blocks(self, last: bool) -> list[bytes]:
        rng, blocks = self.rng, []
        if rng.random() < 0.25:
            cipher = rng.choice(self.texts.ciphers)
            blocks.append(b'{"type":"thinking","thinking":"","signature":"%b"}' % cipher)
        if last or rng.random() < 0.4:
            blocks.append(b'{"type":"text","text":"%b"}' % rng.choice(self.texts.notes))
        if not last:
            blocks += [self._tool_use() for _ in range(1 + (rng.random() < 0.15))]
        return blocks

    def _tool_use(self) -> bytes:
        rng = self.rng
        text = rng.choice(self.bodies if rng.random() < 0.2 else self.texts.notes)
        return b'{"type":"tool_use","id":"toolu_01%b","name":"%b","input":{"content":"%b"}}' % (
            opaque(rng, 22), rng.choice(TOOLS), text,
        )  # fmt: skip

    def _result(self) -> None:
        rng = self.rng
        large = self.large_outputs and rng.random() < 0.004
        text = rng.choice(self.texts.outputs if large else self.bodies)
        shown = text if rng.random() < 0.5 and not large else rng.choice(self.texts.notes)
        extra = b'"stdout":"%b","stderr":"","interrupted":false' % text
        if rng.random() < 0.02:
            # An agent's result repeats counts that its own transcript states: no usage.
            extra = (
                b'"status":"completed","totalTokens":9000,"totalToolUseCount":3,"content":"%b",'
                b'"usage":{"input_tokens":8000,"output_tokens":1000}' % text
            )
        self.conversation(
            b'"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_01%b",'
            b'"type":"tool_result","content":"%b","is_error":false}]},"toolUseResult":{%b}'
            % (opaque(rng, 22), shown, extra)
        )

    def chatter(self) -> None:
        """Write one of the many lines that say nothing about usage."""
        rng, session = self.rng, self.session
        kind, note = rng.random(), rng.choice(self.texts.notes)
        if kind < 0.55:
            self.conversation(
                b'"type":"progress","data":{"type":"bash_progress","output":"%b",'
                b'"elapsedTimeSeconds":%d,"totalLines":%d},"toolUseID":"bash-progress-%d"'
                % (note, rng.randrange(90), rng.randrange(500), rng.randrange(40))
            )
        elif kind < 0.75:
            body = rng.choice(self.bodies)
            self.conversation(
                b'"type":"attachment","attachment":{"type":"file","content":"%b"}' % body
            )
        elif kind < 0.85:
            self.conversation(
                b'"type":"system","subtype":"stop_hook_summary","content":"%b","level":"info"'
                % note
            )
        elif kind < 0.95:
            self.metadata(
                b'{"type":"file-history-snapshot","messageId":"%b","snapshot":{"trackedFileBackups"'
                b':{},"timestamp":"%b"},"isSnapshotUpdate":false}'
                % (session.last_uuid, iso(session.clock))
            )
        else:
            self.metadata(
                b'{"type":"queue-operation","operation":"enqueue","timestamp":"%b","sessionId":"%b",'
                b'"content":"%b"}' % (iso(session.clock), session.session_id, note)
            )

    def turn(self, target: int) -> None:
        """Write a prompt and the responses to it, ending early once the file has its size."""
        self.session.clock += self.rng.randrange(20_000, 900_000)
        self.prompt()
        for _ in range(self.rng.randrange(1, 14)):
            if self.sink.written >= target:
                break
            self.respond()
            for _ in range(self.rng.randrange(6, 24)):
                if self.sink.written < target:
                    self.chatter()
        self.respond(last=True)
        self.conversation(b'"type":"system","subtype":"turn_duration","durationMs":4000')

    def fill(self, target: int) -> None:
        """Write turns until the file has about `target` bytes."""
        while True:
            self.turn(target)
            if self.sink.written >= target:
                return
