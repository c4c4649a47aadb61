"""The conditions of a request, passed from `blog.http` to `blog.database`.

Source: RFC 9110, "HTTP Semantics", sections 8.8.3 (ETag) and 13 (conditional requests).
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from hashlib import blake2b
from typing import NamedTuple

HASH_BYTES = 12
RESOURCE_TAG = re.compile(rf"([0-9]+)-[0-9a-f]{{{2 * HASH_BYTES}}}")
EXAMPLE_TAG = '"745-9f86d081884c7d659a2feaa0"'


class Tags(NamedTuple):
    """The entity tags of a header: `strong` and `weak` ones without quotes, or `*`."""

    strong: frozenset[str]
    weak: frozenset[str] = frozenset()
    any: bool = False


class Conditions(NamedTuple):
    """`If-Match` and `If-None-Match`, None if not sent. `is_safe` if the request only reads."""

    is_safe: bool
    if_match: Tags | None = None
    if_none_match: Tags | None = None

    @property
    def are_sent(self) -> bool:
        return (self.if_match or self.if_none_match) is not None

    def has_changed(self, tag: str) -> bool:
        """Whether the current tag is not one of If-Match, compared strongly."""
        tags = self.if_match
        return tags is not None and not tags.any and not self._lists(tag, tags.strong)

    def is_known(self, tag: str) -> bool:
        """Whether the current tag is one of If-None-Match, compared weakly."""
        tags = self.if_none_match
        return tags is not None and (tags.any or self._lists(tag, tags.strong | tags.weak))

    @property
    def allowed_versions(self) -> str | None:
        """Versions of a row that may be written, each between spaces; None for all."""
        if self.if_none_match is not None and self.if_none_match.any:
            return ""  # there is a row, and there must be none
        if self.if_match is None or self.if_match.any:
            return None
        return _joined(_versions(self.if_match.strong))

    @property
    def excluded_versions(self) -> str:
        """Versions of a row that may not be written, each between spaces."""
        tags = self.if_none_match
        return "" if tags is None else _joined(_versions(tags.strong | tags.weak))

    def _lists(self, tag: str, listed: frozenset[str]) -> bool:
        """A write compares the versions alone, as its statement does."""
        return tag in listed or (
            not self.is_safe and not _versions({tag}).isdisjoint(_versions(listed))
        )


UNCONDITIONAL = Conditions(is_safe=True)
current_conditions: ContextVar[Conditions] = ContextVar("current_conditions", default=UNCONDITIONAL)


def content_tag(content: bytes) -> str:
    """Return the entity tag of these bytes, without quotes."""
    return blake2b(content, digest_size=HASH_BYTES).hexdigest()


def resource_tag(version: str, content: bytes) -> str:
    """Return the entity tag of a resource, without quotes: its row's version, and its JSON's hash.

    A release that changes the JSON, in whatever way, changes the tag of each row.
    """
    return f"{version}-{content_tag(content)}"


def _versions(tags: Iterable[str]) -> set[str]:
    return {tag[1] for tag in map(RESOURCE_TAG.fullmatch, tags) if tag}


def _joined(versions: set[str]) -> str:
    return f" {'  '.join(sorted(versions))} " if versions else ""
