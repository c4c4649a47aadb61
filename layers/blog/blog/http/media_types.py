"""The media types of PATCH: JSON, and JSON Merge Patch (RFC 7396), which is the same here.

A null would remove a member, and no field may be null.
"""

PATCH_TYPES = ("application/json", "application/merge-patch+json")
ACCEPT_PATCH = {"Accept-Patch": ", ".join(PATCH_TYPES)}
"""RFC 5789, section 3.1."""
