"""The conditions of a request, passed from `blog.http` to `blog.database`.

Source: RFC 9110, "HTTP Semantics", sections 8.8.3 (ETag) and 13 (conditional requests).
"""

from contextvars import ContextVar
from typing import NamedTuple

REPRESENTATION_VERSION = 1
"""Part of the entity tags of single resources; raise it when their JSON changes its form."""


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

    def has_changed(self, tag: str) -> bool:
        """Whether the current tag is not one of If-Match, compared strongly."""
        tags = self.if_match
        return tags is not None and not tags.any and tag not in tags.strong

    def is_known(self, tag: str) -> bool:
        """Whether the current tag is one of If-None-Match, compared weakly."""
        tags = self.if_none_match
        return tags is not None and (tags.any or tag in tags.strong or tag in tags.weak)

    @property
    def allowed_versions(self) -> str | None:
        """Versions of a row that may be written, each between spaces; None for all."""
        if self.if_none_match is not None and self.if_none_match.any:
            return ""  # there is a row, and there must be none
        if self.if_match is None or self.if_match.any:
            return None
        return _versions(self.if_match.strong)

    @property
    def excluded_versions(self) -> str:
        """Versions of a row that may not be written, each between spaces."""
        tags = self.if_none_match
        return "" if tags is None else _versions(tags.strong | tags.weak)


UNCONDITIONAL = Conditions(is_safe=True)
current_conditions: ContextVar[Conditions] = ContextVar("current_conditions", default=UNCONDITIONAL)


def version_tag(version: str) -> str:
    """Return the entity tag of a row's version, without quotes."""
    return f"{REPRESENTATION_VERSION}-{version}"


def _versions(tags: frozenset[str]) -> str:
    prefix = version_tag("")
    versions = sorted(tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix))
    return f" {'  '.join(versions)} " if versions else ""
