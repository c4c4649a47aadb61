"""Which tests of authorization there are."""

from tests.every_resource.document import PRIVATE_LISTS

collect_ignore = [] if PRIVATE_LISTS else ["test_private_lists.py"]
