"""Deselects the tests of private lists, and of roles with own resources, if there are none."""

from tests.every_resource.document import OWN_READS, PRIVATE_LISTS

collect_ignore = [
    name
    for name, cases in (("test_private_lists.py", PRIVATE_LISTS), ("test_strangers.py", OWN_READS))
    if not cases
]
