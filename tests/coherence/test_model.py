"""The protocol holds in every interleaving, and no step of it can be left out.

Each mutant lacks something; the search must find the promise that breaks. Three liberties break
none: the look-up need not be atomic (one script is one round trip, though); populating may be
bound to the lease instead of the generation (the page carries the generation captured before, so
the comparison at look-up catches what is late; the comparison at populating needs no lease to
last); and a page may be leased while a fence stands (it is void when the fence is cleared).
"""

from collections.abc import Callable

import pytest

from tests.coherence.model import FORWARD, FRESH, USEFUL, Protocol, Result, Setting, search

SMALL = Setting(writers=1, readers=2, pages=1)
SMALL_WITH_FLUSHES = SMALL._replace(flushes=True)
SMALL_WITH_A_FAILOVER = SMALL._replace(fails_over=True)

CAUGHT = [
    pytest.param(
        Protocol(
            has_fence=False,
            has_generation=False,
            populating_needs="nothing",
        ),
        FRESH,
        id="cache-aside: delete the pages after COMMIT",
    ),
    pytest.param(
        Protocol(
            has_fence=False,
            has_generation=False,
            populating_needs="lease",
        ),
        FRESH,
        id="cache-aside with a lease for populating",
    ),
    pytest.param(
        Protocol(has_generation=False, populating_needs="nothing"),
        FRESH,
        id="a fence, but pages are deleted instead of a generation",
    ),
    pytest.param(Protocol(deletes_after_commit=False), FRESH, id="no invalidation after COMMIT"),
    pytest.param(Protocol(has_fence=False), FORWARD, id="no fence"),
    pytest.param(Protocol(hits_under_fence=True), FORWARD, id="hits while a fence stands"),
    pytest.param(
        Protocol(expired_fence_deletes=False), FORWARD, id="pages survive a fence that expires"
    ),
    pytest.param(
        Protocol(fence_outlives_transaction=False),
        FORWARD,
        id="a fence that runs out before the transaction",
    ),
    pytest.param(
        Protocol(checks_fence_first=True),
        FORWARD,
        id="fence looked at one step before the generation is made",
    ),
    pytest.param(
        Protocol(clears_in_doubt=True),
        FORWARD,
        id="fence cleared while COMMIT may still arrive",
    ),
    pytest.param(
        Protocol(compares_at_look_up=False), FRESH, id="generation not compared at look-up"
    ),
    pytest.param(
        Protocol(populating_needs="nothing"),
        USEFUL,
        id="no comparison at fill",
    ),
    pytest.param(
        Protocol(populating_needs="nothing", stamp="at populating"),
        FORWARD,
        id="no comparison at fill, and the generation taken then",
    ),
    pytest.param(
        Protocol(populating_needs="lease", stamp="at populating"),
        FORWARD,
        id="fill bound to the lease, and the generation taken then",
    ),
    pytest.param(
        Protocol(counts_generations=True), FORWARD, id="generation is a counter that restarts"
    ),
    pytest.param(
        Protocol(clears_in_doubt=True, retry_invalidates=False),
        FRESH,
        id="fence cleared while COMMIT may still arrive, a retry acknowledged at once",
    ),
]
CAUGHT_BY_A_FLUSH = [
    pytest.param(
        Protocol(clears_before_acknowledging=False), id="acknowledged before the fence is cleared"
    ),
    pytest.param(Protocol(retry_invalidates=False), id="a retried write acknowledged at once"),
    pytest.param(Protocol(counts_generations=True), id="generation is a counter that restarts"),
    pytest.param(
        Protocol(populating_needs="nothing", stamp="at populating"),
        id="no comparison at fill, and the generation taken then",
    ),
]
CAUGHT_BY_A_FAILOVER = [
    pytest.param(
        Protocol(serves_while_writes_are_rejected=True), id="hits while writes are rejected"
    ),
    pytest.param(
        Protocol(promotion_voids_generation=False), id="a generation that outlives its primary"
    ),
    pytest.param(Protocol(deletes_after_commit=False), id="no second delete"),
]


def told(result: Result) -> str:
    """The violation as a story, for the one who reads the failed test."""
    return "\n".join((f"broken: {result.broken}", *result.trace))


@pytest.mark.parametrize("flushes", [False, True], ids=["redis keeps its data", "flushes"])
@pytest.mark.parametrize(
    ("writers", "readers", "pages", "least_states"), [(1, 3, 1, 2_000), (2, 2, 2, 60_000)]
)
def test_every_interleaving_keeps_the_promises(
    *,
    writers: int,
    readers: int,
    pages: int,
    least_states: int,
    flushes: bool,
    record_property: Callable[[str, object], None],
) -> None:
    result = search(Protocol(), Setting(writers, readers, pages, flushes))

    assert result.broken is None, told(result)
    assert result.states > least_states  # the search went everywhere
    record_property("states", result.states)


@pytest.mark.parametrize(("mutant", "promise"), CAUGHT)
def test_a_mutant_breaks_a_promise(mutant: Protocol, promise: str) -> None:
    result = search(mutant, SMALL)
    assert result.broken == promise, told(result)


@pytest.mark.parametrize("mutant", CAUGHT_BY_A_FLUSH)
def test_a_mutant_serves_a_stale_page_once_redis_is_flushed(mutant: Protocol) -> None:
    result = search(mutant, SMALL_WITH_FLUSHES)
    assert result.broken == FRESH, told(result)


@pytest.mark.parametrize(("readers", "least_states"), [(2, 4_000), (3, 12_000)])
def test_a_failover_that_loses_writes_serves_nothing_stale(readers: int, least_states: int) -> None:
    result = search(Protocol(), SMALL_WITH_A_FAILOVER._replace(readers=readers))

    assert result.broken is None, told(result)
    assert result.states > least_states


@pytest.mark.parametrize("mutant", CAUGHT_BY_A_FAILOVER)
def test_a_mutant_serves_a_stale_page_once_redis_fails_over(mutant: Protocol) -> None:
    result = search(mutant, SMALL_WITH_A_FAILOVER)
    assert result.broken == FRESH, told(result)


@pytest.mark.parametrize("setting", [SMALL, SMALL_WITH_FLUSHES, Setting(2, 2, 1)])
@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(Protocol(looks_up_generation_first=True), id="look-up in two steps"),
        pytest.param(Protocol(populating_needs="lease"), id="fill bound to the lease"),
        pytest.param(Protocol(leases_under_fence=True), id="leases while a fence stands"),
    ],
)
def test_a_liberty_breaks_no_promise(variant: Protocol, setting: Setting) -> None:
    result = search(variant, setting)
    assert result.broken is None, told(result)


@pytest.mark.parametrize(
    "variant",
    [
        Protocol(clears_before_acknowledging=False),
        Protocol(retry_invalidates=False),
    ],
    ids=["clearing before the response", "invalidation by a retry"],
)
def test_what_guards_against_a_flush_alone(variant: Protocol) -> None:
    """Redundant while Redis keeps its data: the fence stands until the pages are void."""
    result = search(variant, SMALL)
    assert result.broken is None, told(result)


def test_a_violation_is_told_in_its_shortest_trace() -> None:
    cache_aside = Protocol(has_fence=False, has_generation=False, populating_needs="nothing")
    assert search(cache_aside, SMALL._replace(readers=1)).trace == (
        "writer 0 sets its fence",
        "reader 0 looks page 0 up: a miss",
        "reader 0 reads the database",
        "writer 0 commits",
        "writer 0 clears its fence",
        "writer 0 acknowledges",
        "reader 0 populates and responds from the database (page 0)",
        "reader 0 is served by the cache (page 0)",
    )
