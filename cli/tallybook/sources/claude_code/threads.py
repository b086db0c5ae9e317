"""Tells whose line it is: the session or sub-agent, who asked, and whether it is a copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tallybook.schema import Reported
from tallybook.sources.claude_code.lines import Line
from tallybook.sources.claude_code.sniff import AGENT_FILE
from tallybook.sources.contract import FileFacts
from tallybook.values import UUID, decode, inside, text

_MINTED: Final = "msg_"  # ids of the API itself, which never repeat
_SHORTEST_MINTED: Final = 16  # some gateways imitate the prefix with a constant
_LINKS_KEPT: Final = 64  # blocks of one response follow each other closely, but for parallel agents


class Link(msgspec.Struct, array_like=True, gc=False):
    """A record of a response, for the record that follows it.

    `prompt` are its input counts: the link between messages that do not name the record before
    them, or name the result of a tool that ran before the response was over.
    """

    message_id: str | None
    chain_id: str | None
    prompt: list[int | None] | None = None
    request_id: str | None = None
    is_guess: bool = False  # it states no counts and was put to the newest response of its id

    @property
    def identity(self) -> str | None:
        """The identity of the response, whose record it is."""
        return identity(self.message_id, self.request_id, self.chain_id, None)


def is_minted(message_id: str) -> bool:
    """Whether the id alone tells the response from all others."""
    return message_id.startswith(_MINTED) and len(message_id) >= _SHORTEST_MINTED


def identity(
    message_id: str | None, request_id: str | None, chain_id: str | None, elsewise: str | None
) -> str | None:
    """Equal for the records of one response, different for any other; None if nothing can tell.

    `elsewise` tells responses apart that have neither request nor record ids.
    """
    if message_id is None:
        return chain_id
    if is_minted(message_id):
        return message_id
    mark = request_id or chain_id or elsewise
    return f"{message_id}|{mark}" if mark else None


def chain(
    links: dict[str, Link],
    uuid: str | None,
    parent: str | None,
    link: Link,
) -> str | None:
    """The first record of the chain of records with the message id of `link`.

    A record that was written twice stays in the chain it had, for the second copy may have lost its
    parent. Where ids are a gateway's own and there is no request id, the records of one response
    may lie around the result of a tool: they have one prompt, or leave the counts out.
    """
    if uuid is None:
        return None
    before = links.get(uuid) or links.get(parent or "")
    if before is None or link.message_id is None or before.message_id != link.message_id:
        before = _same_prompt(links, link)
        link.is_guess = before is not None and not any(link.prompt or ())
    elif before.is_guess and not _agree(before.prompt, link.prompt):
        before = None
    link.chain_id = before.chain_id if before else uuid
    if before and not any(link.prompt or ()):
        link.prompt = before.prompt
    remember(links, uuid, link)
    return link.chain_id


def _same_prompt(links: dict[str, Link], link: Link) -> Link | None:
    """The newest record of the same gateway's response, if there is one."""
    if link.message_id is None or link.request_id is not None or is_minted(link.message_id):
        return None
    for known in reversed(links.values()):
        if known.message_id == link.message_id and known.request_id is None:
            return known if _agree(known.prompt, link.prompt) else None
    return None


def _agree(one: list[int | None] | None, other: list[int | None] | None) -> bool:
    return one == other or not any(one or ()) or not any(other or ())


def capture_chain(links: dict[str, Link], thread: str, link: Link) -> str | None:
    """The chain of a message of standard output: one id and prompt in a row is one response."""
    before = links.get(thread)
    if before and (before.message_id, before.prompt) == (link.message_id, link.prompt):
        return before.chain_id
    remember(links, thread, link)
    return link.chain_id


def remember(links: dict[str, Link], key: str, link: Link) -> None:
    """Keeps the link as the newest, and no more of them than a chain can need."""
    links.pop(key, None)
    links[key] = link
    if len(links) > _LINKS_KEPT:
        del links[next(iter(links))]


SUBAGENT: Final = "subagent"

_SESSION: Final = re.compile(rf"({UUID.pattern})(?=$|\.)", re.IGNORECASE)
_LABEL: Final = re.compile(r"a([a-z][a-z_-]*)-[0-9a-f]+")
_HEX: Final = re.compile(r"[0-9a-f]+")


class FileIdentity(msgspec.Struct, array_like=True, frozen=True):
    """What a file's name and its neighbour say about every line in it."""

    session: str | None = None
    agent: str | None = None
    agent_type: str | None = None  # from the neighbour
    label: str | None = None  # of an internal agent, from the file name
    spawner: str | None = None  # the agent that started this one, where it was not the lead


def place(facts: FileFacts) -> FileIdentity:
    """Reads the layout: main files, sub-agent folders, flat sub-agent files, nested sessions."""
    if not facts.parts:
        return FileIdentity()
    *folders, name = facts.parts
    named = AGENT_FILE.match(name)
    if not named:
        return FileIdentity(
            session=_folder_session(folders) or _session(name) or _last_session(folders)
        )
    meta = decode(facts.neighbour) if facts.neighbour else None
    return FileIdentity(
        session=_folder_session(folders),
        agent=named[1],
        agent_type=text(inside(meta, "agentType")),
        label=label(named[1]),
        spawner=text(inside(meta, "parentAgentId")),
    )


def _session(name: str) -> str | None:
    found = _SESSION.match(name)
    return found[1] if found else None


def _folder_session(folders: Sequence[str]) -> str | None:
    """The folder above `subagents`, however deep the file lies below it."""
    if "subagents" not in folders:
        return None
    above = folders.index("subagents") - 1
    return folders[above] if above >= 0 else None


def _last_session(folders: Sequence[str]) -> str | None:
    """Some builds of 2025 kept the files of a session in a folder of its name."""
    return _session(folders[-1]) if folders else None


def label(agent: str) -> str | None:
    """The name in the id of an internal agent: `acompact-1f2e` is `compact`.

    Ids of ordinary agents are hexadecimal and have none.
    """
    found = _LABEL.fullmatch(agent)
    if not found or _HEX.fullmatch(found[1]):
        return None
    # Some ids spell the label with the prefix, some without; it is one kind of agent.
    return "aside_question" if found[1] == "side_question" else found[1]


def put_whose(row: Reported, line: Line, place: FileIdentity, run: int) -> None:
    """Put on the row of a transcript line whose it is; `run` numbers the file's sidechains."""
    stated = text(line.session)
    session = place.session or stated
    agent = place.agent or _agent(line, run)
    row.is_copy = stated is not None and stated != session
    if line.forked_from or line.asking_session is not None:
        row.is_copy |= bool(line.forked_from) or text(line.asking_session) not in (None, session)
    if agent is None:
        put_thread(row, session)
        return
    # A lead's line in a sub-agent's file was carried over from the lead's own file.
    row.is_copy |= place.agent is not None and line.is_sidechain is False
    put_thread(row, session, agent, place.spawner)
    row.caller = place.agent_type or text(line.agent_type) or place.label or SUBAGENT
    row.sidechain = True


def _agent(line: Line, run: int) -> str | None:
    if line.is_sidechain is False:
        return None
    named = text(line.agent_id)
    return f"sidechain-{run}" if named is None and line.is_sidechain is True else named


def put_thread(
    row: Reported, session: str | None, agent: str | None = None, spawner: str | None = None
) -> None:
    """Put on a row that it is of a session, or of an agent in it."""
    row.thread_id = row.root_thread_id = session
    if agent is not None:
        row.thread_id = _path(session, agent)
        row.parent_thread_id = _path(session, spawner) if spawner else session


def _path(session: str | None, agent: str) -> str:
    return f"{session}/{agent}" if session else agent
