"""The suites cover every operation: an empty parameter set means that no resource has the case."""

from tests.every_resource.document import DOCUMENT, LISTS, PRIVATE_LISTS, WRITES
from tests.resources import KINDS


def test_every_list_of_a_resource_is_in_a_suite() -> None:
    paths = {listed.template for listed in (*LISTS, *PRIVATE_LISTS)}
    names = {DOCUMENT["paths"][path]["get"]["operationId"] for path in paths}
    assert names == {name for name, kind in KINDS.items() if kind == "list"}


def test_every_write_of_a_resource_is_in_a_suite() -> None:
    names = {write.documented["operationId"] for write in WRITES}
    assert names == {name for name, kind in KINDS.items() if kind not in ("", "list", "read")}
