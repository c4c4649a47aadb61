"""The protocol holds in every interleaving, and no step of it can be left out.

Each mutant lacks something; the search must find the promise that breaks. Two liberties break none:
storing need not compare the tokens (the comparison at look-up catches what is late; the one when
storing keeps pages that are served), and a page may be leased while a fence of its scope stands (it
is void when the fence is cleared).
"""

from collections.abc import Callable

import pytest

from tests.coherence.model import (
    ALL_BOOKS,
    BOOK_OF_7,
    BOOKS_OF_7,
    BOOKS_OF_7_WITH_WRITERS,
    CHANGED_BOOK_OF_7,
    DELETED_TAG,
    DELETED_WRITER,
    FRESH,
    MOVED_BOOK,
    RENAMED_WRITER,
    TAGGED_BOOKS,
    USEFUL,
    Protocol,
    Result,
    Setting,
    search,
)

SMALL = Setting((CHANGED_BOOK_OF_7,), (BOOKS_OF_7,))
UNSCOPED = Setting((CHANGED_BOOK_OF_7,), (ALL_BOOKS,))
MOVING = Setting((MOVED_BOOK,), (BOOKS_OF_7,))
JOINED = Setting((RENAMED_WRITER,), (BOOKS_OF_7_WITH_WRITERS,))
CASCADING = Setting((DELETED_WRITER,), (TAGGED_BOOKS,))

CAUGHT = [
    pytest.param(Protocol(clears=False), SMALL, FRESH, id="no voiding after COMMIT"),
    pytest.param(Protocol(sets_fences=False), SMALL, FRESH, id="no fence"),
    pytest.param(Protocol(hits_under_fence=True), SMALL, FRESH, id="hits while a fence stands"),
    pytest.param(
        Protocol(fences_cascades=False),
        CASCADING,
        FRESH,
        id="no fence on what a delete cascades to",
    ),
    pytest.param(
        Protocol(clears_scope_before=False), MOVING, FRESH, id="the scope before is not voided"
    ),
    pytest.param(
        Protocol(fences_scope_before=False), MOVING, FRESH, id="the scope before is not fenced"
    ),
    pytest.param(
        Protocol(awaits_lacking_fence=False),
        MOVING,
        FRESH,
        id="the fence of the scope before is not awaited",
    ),
    pytest.param(Protocol(narrows_to_scopes=False), SMALL, FRESH, id="narrowed to no scope"),
    pytest.param(Protocol(clears_scopes=False), SMALL, FRESH, id="only `all` is voided"),
    pytest.param(Protocol(clears_all=False), UNSCOPED, FRESH, id="only the scope is voided"),
    pytest.param(Protocol(depends_on_joined=False), JOINED, FRESH, id="own table only"),
    pytest.param(
        Protocol(expired_fence_voids=False), SMALL, FRESH, id="an expired fence voids nothing"
    ),
    pytest.param(
        Protocol(fence_outlives_transaction=False),
        SMALL,
        FRESH,
        id="a fence that expires before its transaction",
    ),
    pytest.param(
        Protocol(clears_in_doubt=True),
        SMALL,
        FRESH,
        id="fence cleared while COMMIT may still arrive",
    ),
    pytest.param(
        Protocol(compares_at_look_up=False), SMALL, FRESH, id="tokens not compared at look-up"
    ),
    pytest.param(
        Protocol(compares_when_storing=False, takes_tokens_when_storing=True),
        SMALL,
        FRESH,
        id="tokens taken when storing",
    ),
    pytest.param(
        Protocol(compares_when_storing=False), SMALL, USEFUL, id="tokens not compared when storing"
    ),
    pytest.param(
        Protocol(awaits_clearing_without_fence=False),
        SMALL._replace(fences_fail=True),
        FRESH,
        id="clearing not awaited though no fence stands",
    ),
    pytest.param(
        Protocol(has_quarantine=False), SMALL._replace(flushes=True), FRESH, id="no quarantine"
    ),
    pytest.param(
        Protocol(quarantine_outlives_writes=False),
        SMALL._replace(flushes=True),
        FRESH,
        id="a quarantine that ends before the writes in progress",
    ),
    pytest.param(
        Protocol(serves_while_writes_are_rejected=True),
        SMALL._replace(fails_over=True),
        FRESH,
        id="hits while writes are rejected",
    ),
    pytest.param(
        Protocol(promotion_voids=False),
        SMALL._replace(fails_over=True),
        FRESH,
        id="tokens that outlive their primary",
    ),
]

HELD = [
    pytest.param(SMALL._replace(readers=3), 1_000, id="one page"),
    pytest.param(SMALL._replace(readers=3, flushes=True), 3_000, id="one page, flushes"),
    pytest.param(SMALL._replace(readers=3, fails_over=True), 5_000, id="one page, a failover"),
    pytest.param(MOVING._replace(readers=3, flushes=True), 3_000, id="a move, flushes"),
    pytest.param(MOVING._replace(fails_over=True), 1_000, id="a move, a failover"),
    pytest.param(MOVING._replace(fences_fail=True), 500, id="a move, no fence taken"),
    pytest.param(SMALL._replace(readers=3, fences_fail=True), 1_000, id="one page, no fence taken"),
    pytest.param(
        Setting((BOOK_OF_7, MOVED_BOOK), (BOOKS_OF_7,)), 10_000, id="two writes to a scope"
    ),
    pytest.param(
        Setting((BOOK_OF_7,), (BOOKS_OF_7, ALL_BOOKS), flushes=True), 5_000, id="scoped and whole"
    ),
    pytest.param(
        Setting((RENAMED_WRITER, CHANGED_BOOK_OF_7), (BOOKS_OF_7_WITH_WRITERS,)),
        10_000,
        id="a joined page",
    ),
    pytest.param(Setting((DELETED_WRITER,), (TAGGED_BOOKS, BOOKS_OF_7)), 3_000, id="cascades"),
    pytest.param(
        Setting((DELETED_WRITER, DELETED_TAG), (TAGGED_BOOKS,)), 10_000, id="a cascade and a write"
    ),
]


def described(result: Result) -> str:
    """Return the violation and the steps to it."""
    return "\n".join((f"broken: {result.broken}", *result.trace))


@pytest.mark.parametrize(("setting", "minimum_states"), HELD)
def test_every_interleaving_keeps_the_promises(
    setting: Setting, minimum_states: int, record_property: Callable[[str, object], None]
) -> None:
    result = search(Protocol(), setting)

    assert result.broken is None, described(result)
    assert result.states > minimum_states  # the search was not cut short
    record_property("states", result.states)


@pytest.mark.parametrize(("mutant", "setting", "promise"), CAUGHT)
def test_a_mutant_breaks_a_promise(mutant: Protocol, setting: Setting, promise: str) -> None:
    result = search(mutant, setting)
    assert result.broken == promise, described(result)


@pytest.mark.parametrize("setting", [SMALL, JOINED, SMALL._replace(flushes=True)])
def test_a_page_may_be_leased_while_its_fence_stands(setting: Setting) -> None:
    result = search(Protocol(leases_under_own_fence=True), setting)
    assert result.broken is None, described(result)
