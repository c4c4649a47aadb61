"""The conditions of a request, by entity tags, and the tags themselves.

Source: RFC 9110, "HTTP Semantics", sections 8.8.3 (ETag) and 13 (conditional requests).
"""

import re
from hashlib import blake2b
from typing import NamedTuple

HASH_BYTES = 12
RESOURCE_TAG = re.compile(rf"([0-9]+)-[0-9a-f]{{{2 * HASH_BYTES}}}")
EXAMPLE_TAG = '"745-9f86d081884c7d659a2feaa0"'


class Tags(NamedTuple):
    """The entity tags of a header, without quotes; `any` stands for `*`."""

    strong: frozenset[str]
    weak: frozenset[str] = frozenset()
    any: bool = False


class Conditions(NamedTuple):
    """`If-Match` and, for reads, `If-None-Match`; None if not sent."""

    if_match: Tags | None = None
    if_none_match: Tags | None = None

    def has_changed(self, tag: str) -> bool:
        """Whether If-Match does not allow the current tag (strong comparison)."""
        tags = self.if_match
        return tags is not None and not tags.any and tag not in tags.strong

    def is_known(self, tag: str) -> bool:
        """Whether If-None-Match has the current tag (weak comparison)."""
        tags = self.if_none_match
        return tags is not None and (tags.any or tag in tags.strong | tags.weak)

    @property
    def allowed_versions(self) -> str | None:
        """The versions of a row that If-Match allows, each between spaces; None for all."""
        if self.if_match is None or self.if_match.any:
            return None
        tags = map(RESOURCE_TAG.fullmatch, self.if_match.strong)
        return "".join(f" {version} " for version in sorted({tag[1] for tag in tags if tag}))


UNCONDITIONAL = Conditions()


def content_tag(content: bytes) -> str:
    """Return the entity tag of these bytes, without quotes."""
    return blake2b(content, digest_size=HASH_BYTES).hexdigest()


def resource_tag(version: str, content: bytes) -> str:
    """Return the entity tag of a resource, without quotes: its row's version, and its JSON's hash.

    So a release that changes the JSON changes the tags.
    """
    return f"{version}-{content_tag(content)}"
