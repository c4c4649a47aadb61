"""The media types of PATCH: JSON, and JSON Merge Patch (RFC 7396), which is the same here.

A null would remove a member, and no field may be null.
"""

from fastapi import Request

from blog.errors import UnsupportedMediaType

PATCH_TYPES = ("application/json", "application/merge-patch+json")
ACCEPT_PATCH = {"Accept-Patch": ", ".join(PATCH_TYPES)}
"""RFC 5789, section 3.1."""


def check_patch(request: Request) -> None:
    """Raises `UnsupportedMediaType` for a PATCH of another type, such as JSON Patch."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "PATCH" and sent and sent not in PATCH_TYPES:
        detail = f"The header Content-Type is not one that PATCH takes; send {PATCH_TYPES[0]}."
        raise UnsupportedMediaType(detail, ACCEPT_PATCH)
