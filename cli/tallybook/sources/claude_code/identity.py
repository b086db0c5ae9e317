"""Tells which records are the same response: by id, and by chains of records where ids repeat."""

from __future__ import annotations

from typing import Final

import msgspec

_MINTED: Final = "msg_"  # ids of the API itself, which never repeat
_SHORTEST_MINTED: Final = 16  # some gateways imitate the prefix with a constant
_LINKS_KEPT: Final = 64  # blocks of one response follow each other closely, but for parallel agents


class Link(msgspec.Struct):
    """A record of a response, for the record that follows it.

    `prompt` are its input counts: the link between messages of standard output, which do not name
    the record before them.
    """

    message_id: str | None
    chain_id: str | None
    prompt: list[int | None] | None = None
    request_id: str | None = None

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
    message_id: str | None,
    request_id: str | None,
) -> str | None:
    """The first record of the unbroken chain of records with this message id.

    A record that was written twice stays in the chain it had, for the second copy may have lost its
    parent.
    """
    if uuid is None:
        return None
    before = links.get(uuid) or links.get(parent or "")
    same = before is not None and message_id is not None and before.message_id == message_id
    chain_id = before.chain_id if before and same else uuid
    remember(links, uuid, Link(message_id, chain_id, request_id=request_id))
    return chain_id


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
