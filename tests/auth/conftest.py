"""Leaves out the tests of private lists if no resource has one."""

from tests.every_resource.document import PRIVATE_LISTS

collect_ignore = [] if PRIVATE_LISTS else ["test_private_lists.py"]
