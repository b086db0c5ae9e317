"""Codex rollouts for the corpus: threads, and forks and sub-agents that replay their parent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .material import Texts, iso, opaque, uuid7
from .sink import Sink
from .truth import Tally, Truth

MODELS = (b"gpt-5.1-codex", b"gpt-5.2-codex", b"gpt-5.3-codex", b"gpt-5.1-codex-mini")
WINDOW = 258_400
FULL_CONTEXT = 225_000
COPY_BYTES = 400_000  # at most so much of a thread is kept for forks of it

COUNTS = (
    b'{"input_tokens":%d,"cached_input_tokens":%d,"output_tokens":%d,'
    b'"reasoning_output_tokens":%d,"total_tokens":%d}'
)
LIMITS = (
    b'{"primary":{"used_percent":%.1f,"window_minutes":300,"resets_at":%d},"secondary":'
    b'{"used_percent":%.1f,"window_minutes":10080,"resets_at":%d},"credits":null,"plan_type":"pro"}'
)


def counts(call: Tally) -> bytes:
    """Format a call, or the running total of several, as the log does."""
    given = call.uncached_input_tokens + call.cached_input_tokens
    return COUNTS % (
        given, call.cached_input_tokens, call.output_tokens, call.reasoning_output_tokens,
        given + call.output_tokens,
    )  # fmt: skip


@dataclass
class Thread:
    """What is known of a rollout: enough to continue it or to fork from it."""

    path: Path
    thread_id: bytes
    cwd: bytes
    model: bytes
    clock: int  # Unix milliseconds of the latest line
    total: Tally = field(default_factory=Tally)
    context: int = 0
    cached: int = 0
    # The first lines without their times, up to the end of a turn; None where nobody forks.
    kept: list[bytes] | None = None
    kept_bytes: int = 0
    kept_total: Tally = field(default_factory=Tally)  # running total at the end of `kept`
    kept_model: bytes = b""


@dataclass
class Writer:
    """Writes one rollout into its sink and counts what it spends."""

    rng: Random
    texts: Texts
    truth: Truth
    sink: Sink
    thread: Thread
    bodies: list[bytes] = field(default_factory=list)
    large_outputs: bool = False
    _turn: list[bytes] = field(default_factory=list)

    def line(self, kind: bytes, payload: bytes, *, wait: int = 900, usage: bool = False) -> None:
        """Write one line up to `wait` milliseconds after the one before."""
        self.thread.clock += self.rng.randrange(1, wait + 1)
        rest = b'"type":"%b","payload":%b}\n' % (kind, payload)
        self.copy(rest, usage=usage)
        if self.thread.kept is not None:
            self._turn.append(rest)

    def copy(self, rest: bytes, *, usage: bool = False) -> None:
        """Write a line, own or replayed, with the present time."""
        stamp = b'{"timestamp":"%b",' % iso(self.thread.clock)
        self.sink.line(stamp + rest, usage=usage)

    def event(self, body: bytes, *, wait: int = 900) -> None:
        self.line(b"event_msg", body, wait=wait)

    def item(self, body: bytes) -> None:
        self.line(b"response_item", body)

    def open(self, source: bytes, lineage: bytes = b"") -> None:
        """Write the header of the file and the rate limits that every session begins with."""
        thread = self.thread
        self.line(
            b"session_meta",
            b'{"id":"%b",%b"timestamp":"%b","cwd":"%b","originator":"codex_cli_rs","cli_version":'
            b'"0.130.0","source":%b,"model_provider":"openai","base_instructions":{"text":"%b"},'
            b'"git":{"commit_hash":"%b","branch":"main"}}'
            % (
                thread.thread_id, lineage, iso(thread.clock), thread.cwd, source,
                self.bodies[-1], opaque(self.rng, 40),
            ),
        )  # fmt: skip

    def rate_limits(self) -> None:
        """Write a count event without counts."""
        self.event(b'{"type":"token_count","info":null,"rate_limits":%b}' % self._limits())

    def _limits(self) -> bytes:
        resets = self.thread.clock // 1000 + 9_000
        used = self.rng.random() * 90
        return LIMITS % (used, resets, used / 3, resets + 400_000)

    def turn_start(self) -> None:
        """Write the lines that open a turn under the thread's model."""
        thread = self.thread
        turn_id = uuid7(self.rng, thread.clock)
        self.event(
            b'{"type":"task_started","turn_id":"%b","started_at":%d,"model_context_window":%d}'
            % (turn_id, thread.clock // 1000, WINDOW),
            wait=1,
        )
        self.line(
            b"turn_context",
            b'{"turn_id":"%b","cwd":"%b","approval_policy":"on-request","sandbox_policy":'
            b'{"type":"workspace-write"},"model":"%b","effort":"medium","summary":"auto"}'
            % (turn_id, thread.cwd, thread.model),
            wait=1,
        )
        text = self.rng.choice(self.bodies if self.rng.random() < 0.1 else self.texts.notes)
        self.item(
            b'{"type":"message","role":"user","content":[{"type":"input_text","text":"%b"}]}' % text
        )
        self.event(b'{"type":"user_message","message":"%b","images":[]}' % text)

    def spend(self) -> Tally:
        """Draw the counts of one response."""
        rng, thread = self.rng, self.thread
        if thread.context > FULL_CONTEXT:
            self.line(b"compacted", b'{"message":"%b"}' % rng.choice(self.bodies))
            thread.context = thread.cached = 0
        thread.context = (thread.context or 9_000) + rng.randrange(200, 7_000)
        cached = 0 if rng.random() < 0.04 else thread.cached
        output = min(int(rng.lognormvariate(5.8, 1.1)) + 9, 20_000)
        call = Tally(
            calls=1,
            uncached_input_tokens=thread.context - cached,
            cached_input_tokens=cached,
            output_tokens=output,
            reasoning_output_tokens=output * rng.randrange(0, 80) // 100,
        )
        thread.cached = thread.context // 128 * 128
        thread.context += output
        thread.total.add(call)
        self.truth.count(thread.model, call)
        return call

    def respond(self) -> None:
        """Write one response, what its tools returned, and its counts, at times twice."""
        rng = self.rng
        call = self.spend()
        self._reasoning()
        self._tool_call()
        for _ in range(rng.randrange(0, 5)):
            self._chatter()
        self.counts(call)
        while rng.random() < 0.15:
            self.counts(call)
        if rng.random() < 0.05:
            self.rate_limits()

    def counts(self, call: Tally) -> None:
        """State a call and the running total; saying it again is a re-emission."""
        info = b'{"total_token_usage":%b,"last_token_usage":%b,"model_context_window":%d}' % (
            counts(self.thread.total), counts(call), WINDOW,
        )  # fmt: skip
        self.line(
            b"event_msg",
            b'{"type":"token_count","info":%b,"rate_limits":%b}' % (info, self._limits()),
            usage=True,
        )

    def _reasoning(self) -> None:
        note, cipher = self.rng.choice(self.texts.notes), self.rng.choice(self.texts.ciphers)
        self.event(b'{"type":"agent_reasoning","text":"%b"}' % note)
        self.item(
            b'{"type":"reasoning","summary":[{"type":"summary_text","text":"%b"}],"content":null,'
            b'"encrypted_content":"%b"}' % (note, cipher)
        )

    def _tool_call(self) -> None:
        rng = self.rng
        large = self.large_outputs and rng.random() < 0.004
        call_id = opaque(rng, 24)
        self.item(
            b'{"type":"function_call","name":"exec_command","arguments":"{\\"cmd\\":\\"cat %d\\"}",'
            b'"call_id":"call_%b"}' % (rng.randrange(999), call_id)
        )
        self.item(
            b'{"type":"function_call_output","call_id":"call_%b","output":"%b"}'
            % (call_id, rng.choice(self.texts.outputs if large else self.bodies))
        )

    def _chatter(self) -> None:
        rng, note = self.rng, self.rng.choice(self.texts.notes)
        if rng.random() < 0.4:
            self._tool_call()
        elif rng.random() < 0.5:
            self.event(b'{"type":"agent_message","message":"%b"}' % note)
            self.item(
                b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":'
                b'"%b"}]}' % note
            )
        else:
            self.event(b'{"type":"agent_reasoning_section_break","item_id":"","summary_index":1}')

    def turn(self, target: int) -> None:
        """Write one turn, ending early once the file has its size."""
        self.thread.clock += self.rng.randrange(8_000, 900_000)
        self.turn_start()
        for _ in range(self.rng.randrange(1, 14)):
            self.respond()
            if self.sink.written >= target:
                break
        self.event(b'{"type":"task_complete","last_agent_message":"done"}')
        self._keep_turn()

    def _keep_turn(self) -> None:
        thread = self.thread
        if thread.kept is not None and (not thread.kept or thread.kept_bytes < COPY_BYTES):
            thread.kept += self._turn
            thread.kept_bytes += sum(map(len, self._turn))
            thread.kept_total.add(self._since_kept())
            thread.kept_model = thread.model
        self._turn = []

    def _since_kept(self) -> Tally:
        total, kept = self.thread.total, self.thread.kept_total
        return Tally(**{name: value - getattr(kept, name) for name, value in vars(total).items()})

    def fill(self, target: int) -> None:
        """Write turns until the file has about `target` bytes, at times with another model."""
        while True:
            self.turn(target)
            if self.sink.written >= target:
                return
            if self.rng.random() < 0.05:
                self.thread.model = self.rng.choice(MODELS)

    def replay(self, parent: Thread) -> None:
        """Write the parent's first turns in one burst and continue from its running total."""
        for at, rest in enumerate(parent.kept or ()):
            self.thread.clock += at % 3 == 0
            self.copy(rest, usage=b'"info":{"total' in rest[:80])
        self.thread.total.add(parent.kept_total)
        self.thread.clock += self.rng.randrange(5_800, 15_000)
