"""The cache's protocol as a state machine, searched to its end, breadth first.

Modelled, as in `blog.cache` and `blog.database.transactions`, each line one atomic step:

    reader  look up: hit · miss with a lease · bypass; read the database; populate and respond
    writer  set the fence · COMMIT · clear the fence · acknowledge; or withdraw it without COMMIT
    world   the writer crashes or loses COMMIT's response, before any of its steps; a fence expires
            (but never while its transaction can still commit); a lease or a page expires; the
            client retries a lost write; Redis is flushed; Redis fails over: from some moment on
            nothing is replicated, then the primary rejects writes, then the replica takes its place

Writers write once, readers read as often as they like, everything interleaves. No reader sees a
statement before COMMIT, so it is not a step of its own, and the fence may be set while it runs.
What a read returns is the set of writes that the database had committed, as a bit mask. Of tokens
only equality counts, and a token that is no longer the generation never is again: it becomes
`DEAD`.

Invariants:

    FRESH    a read that starts after a write was acknowledged returns that write
    FORWARD  a read that starts after another ended returns all that the other returned;
             promised only while Redis keeps its data
    USEFUL   populating never replaces a page that is served by one that never will be

Not modelled: a Redis that some cannot reach while others do, where only the pages' time to live
bounds staleness.
`python -m tests.coherence.model` searches a bigger configuration than the tests do.
"""

import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Literal, NamedTuple

FRESH = "a read that starts after a write was acknowledged returns that write"
FORWARD = "a read that starts after another ended returns all that the other returned"
USEFUL = "populating never replaces a page that is served by one that never will be"

DEAD = 0
CURRENT = 1
FRESH_TOKEN = 2
REPLICATED = 3
"""The replica's generation, where it is not the primary's."""
FIRST_COUNT = 1

STARTED = "started"
FENCED = "fenced"  # COMMIT is not sent, or on its way
IN_DOUBT = "in doubt"  # its client was told so, and COMMIT is on its way
ABORTED = "aborted"  # the writer knows, and has yet to withdraw its fence
ENDED = "ended"  # without a commit
COMMITTED = "committed"
LOST = "lost"  # committed, but the client does not know
CLEARED = "cleared"
HASTY = "acknowledged with its fence up"
ACKNOWLEDGED = "acknowledged"

IN_DATABASE = frozenset({COMMITTED, LOST, CLEARED, HASTY, ACKNOWLEDGED})
ACKNOWLEDGED_STATES = frozenset({HASTY, ACKNOWLEDGED})
MAY_COMMIT = frozenset({STARTED, FENCED, IN_DOUBT})

IDLE = "idle"
LOOKED = "looked"  # in mutants that look up in two steps
BYPASS = "bypass"
MISSED = "missed"
LOADED = "loaded"


class Protocol(NamedTuple):
    """The protocol as it is; a mutant is one with other values."""

    has_fence: bool = True
    has_generation: bool = True
    """Without it nothing is compared, and an invalidation deletes the pages."""
    deletes_after_commit: bool = True
    hits_under_fence: bool = False
    leases_under_fence: bool = False
    expired_fence_deletes: bool = True
    """Whether the generation is deleted with a fence that expired."""
    compares_at_look_up: bool = True
    populating_needs: Literal["generation", "lease", "nothing"] = "generation"
    stamp: Literal["captured", "at populating"] = "captured"
    """The generation that a filled page gets: from before the database was read, or later."""
    counts_generations: bool = False
    looks_up_generation_first: bool = False
    checks_fence_first: bool = False
    fence_outlives_transaction: bool = True
    clears_before_acknowledging: bool = True
    clears_in_doubt: bool = False
    retry_invalidates: bool = True
    serves_while_writes_are_rejected: bool = False
    promotion_voids_generation: bool = True


class Setting(NamedTuple):
    writers: int = 2
    readers: int = 2
    pages: int = 2
    flushes: bool = False
    fails_over: bool = False


class Page(NamedTuple):
    generation: int
    writes: int


class Reader(NamedTuple):
    phase: str = IDLE
    page: int = 0
    generation: int | None = None
    has_lease: bool = False
    writes: int = 0
    acknowledged: int = 0
    """The writes that were acknowledged when the read started."""
    seen: int | None = None
    """The writes that reads had returned when the read started."""


class Replica(NamedTuple):
    """What was replicated last."""

    fences: int
    generation: int | None
    pages: tuple[Page | None, ...]


class State(NamedTuple):
    writers: tuple[str, ...]
    fences: int
    generation: int | None
    pages: tuple[Page | None, ...]
    readers: tuple[Reader, ...]
    seen: int | None
    """The writes that reads have returned; None where this is not followed."""
    replica: Replica | None = None
    """None while it follows the primary."""
    rejects_writes: bool = False
    promoted: bool = False


class Step(NamedTuple):
    what: str
    state: State
    broken: str | None = None


class Result(NamedTuple):
    states: int
    broken: str | None
    trace: tuple[str, ...]
    """The steps to the violation; no sequence of fewer steps leads to one."""


def search(protocol: Protocol, setting: Setting) -> Result:
    """Visit all states that can be reached, or stop at the first violation."""
    start = State(
        writers=(STARTED,) * setting.writers,
        fences=0,
        generation=None,
        pages=(None,) * setting.pages,
        readers=(Reader(),) * setting.readers,
        seen=None if setting.flushes or setting.fails_over else 0,
    )
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    visited = {_regardless_of_order(start)}
    frontier = [start]
    while frontier:
        following: list[State] = []
        for state in frontier:
            for what, raw, broken in _steps(state, protocol, setting):
                if broken:
                    return Result(len(visited), broken, (*_path(came_from, state), what))
                reached = raw if protocol.counts_generations else _forgetful(raw, protocol)
                key = _regardless_of_order(reached)
                if key not in visited:
                    visited.add(key)
                    came_from[reached] = (state, what)
                    following.append(reached)
        frontier = following
    return Result(len(visited), None, ())


def _steps(state: State, protocol: Protocol, setting: Setting) -> Iterator[Step]:
    for number in range(setting.writers):
        yield from _writer_steps(state, protocol, number)
    for number in range(setting.readers):
        yield from _reader_steps(state, protocol, setting, number)
    for number, page in enumerate(state.pages):
        if page is not None:
            yield Step(f"page {number} expires", _with_page(state, number, None))
    if setting.flushes:
        yield Step("Redis is flushed", _flushed(state))
    if setting.fails_over and not state.promoted:
        yield _next_of_failover(state, protocol)


def _next_of_failover(state: State, protocol: Protocol) -> Step:
    if state.replica is None:
        replica = Replica(state.fences, state.generation, state.pages)
        if protocol.promotion_voids_generation:  # which makes its pages as good as none
            replica = Replica(state.fences, None, (None,) * len(state.pages))
        return Step("nothing is replicated any more", state._replace(replica=replica))
    if not state.rejects_writes:
        return Step("the primary rejects writes", state._replace(rejects_writes=True))
    fences, generation, pages = state.replica
    promoted = state._replace(
        fences=fences,
        generation=generation,
        pages=pages,
        replica=None,
        rejects_writes=False,
        promoted=True,
    )
    return Step("the replica is promoted", promoted)


def _writer_steps(state: State, protocol: Protocol, number: int) -> Iterator[Step]:
    status, bit = state.writers[number], 1 << number
    if state.fences & bit and not (protocol.fence_outlives_transaction and status in MAY_COMMIT):
        expired = state._replace(fences=state.fences & ~bit)
        if protocol.expired_fence_deletes:
            expired = _invalidated(expired, protocol)
        yield Step(f"writer {number}'s fence expires", expired)
    moves = _moves_after_commit if status in IN_DATABASE else _moves_before_commit
    for new, what, after in moves(state, protocol, status, bit):
        writers = (*after.writers[:number], new, *after.writers[number + 1 :])
        yield Step(f"writer {number} {what}", after._replace(writers=writers))


def _moves_before_commit(
    state: State, protocol: Protocol, status: str, bit: int
) -> Iterator[tuple[str, str, State]]:
    """The writer's next status, what it did, and the state but for the status."""
    if status == STARTED:
        yield FENCED, "sets its fence", _set(state, protocol, bit)
    elif status == FENCED:
        yield COMMITTED, "commits", state
        yield ABORTED, "fails to commit", state
        yield ENDED, "crashes before COMMIT", state
        after = _cleared(state, protocol, bit) if protocol.clears_in_doubt else state
        yield IN_DOUBT, "crashes or times out while COMMIT is on its way", after
    elif status == IN_DOUBT:
        yield LOST, "is gone, and its COMMIT arrives", state
        yield ENDED, "is gone, and its transaction is rolled back", state
    elif status == ABORTED:
        yield ENDED, "withdraws its fence", _withdrawn(state, bit)


def _moves_after_commit(
    state: State, protocol: Protocol, status: str, bit: int
) -> Iterator[tuple[str, str, State]]:
    if status == COMMITTED:
        yield LOST, "crashes after COMMIT", state
        if protocol.clears_before_acknowledging:
            yield CLEARED, "clears its fence", _cleared(state, protocol, bit)
        else:
            yield HASTY, "acknowledges", state
    elif status == LOST:
        new = COMMITTED if protocol.retry_invalidates else ACKNOWLEDGED
        yield new, "is retried by its client, and finds its work done", state
    elif status == CLEARED:
        yield ACKNOWLEDGED, "acknowledges", state
    elif status == HASTY:
        yield ACKNOWLEDGED, "clears its fence", _cleared(state, protocol, bit)


def _set(state: State, protocol: Protocol, bit: int) -> State:
    if state.rejects_writes:
        return state
    return state._replace(fences=state.fences | bit) if protocol.has_fence else state


def _cleared(state: State, protocol: Protocol, bit: int) -> State:
    if state.rejects_writes:
        return state
    state = state._replace(fences=state.fences & ~bit)
    return _invalidated(state, protocol) if protocol.deletes_after_commit else state


def _withdrawn(state: State, bit: int) -> State:
    return state if state.rejects_writes else state._replace(fences=state.fences & ~bit)


def _invalidated(state: State, protocol: Protocol) -> State:
    if protocol.has_generation:
        return state._replace(generation=None)
    return state._replace(pages=(None,) * len(state.pages))


def _flushed(state: State) -> State:
    readers = tuple(reader._replace(has_lease=False) for reader in state.readers)
    pages = (None,) * len(state.pages)
    return state._replace(fences=0, generation=None, pages=pages, readers=readers)


def _reader_steps(
    state: State, protocol: Protocol, setting: Setting, number: int
) -> Iterator[Step]:
    reader = state.readers[number]
    name = f"reader {number}"
    if reader.has_lease:
        expired = reader._replace(has_lease=False)
        yield Step(f"{name}'s lease expires", _with_reader(state, number, expired))
    if reader.phase == IDLE:
        floor = Reader(acknowledged=_mask(state, ACKNOWLEDGED_STATES), seen=state.seen)
        for page in range(setting.pages):
            yield _start_look_up(state, protocol, number, floor._replace(page=page))
    elif reader.phase == LOOKED:
        yield _end_look_up(state, protocol, number, reader)
    elif reader.phase == BYPASS:
        loaded = reader._replace(writes=_mask(state, IN_DATABASE))
        yield _respond(state, number, loaded, "responds from the database")
    elif reader.phase == MISSED:
        loaded = reader._replace(phase=LOADED, writes=_mask(state, IN_DATABASE))
        yield Step(f"{name} reads the database", _with_reader(state, number, loaded))
    else:
        yield _populate(state, protocol, number, reader)


def _start_look_up(state: State, protocol: Protocol, number: int, reader: Reader) -> Step:
    looked = reader._replace(phase=LOOKED, generation=state.generation)
    if protocol.looks_up_generation_first:
        return Step(f"reader {number} gets the generation", _with_reader(state, number, looked))
    if protocol.checks_fence_first and not state.fences:
        return Step(f"reader {number} finds no fence", _with_reader(state, number, looked))
    return _end_look_up(state, protocol, number, looked)


def _end_look_up(state: State, protocol: Protocol, number: int, reader: Reader) -> Step:
    """The script GET_OR_LEASE. A reader that finds another's lease reads the database later."""
    name = f"reader {number} looks page {reader.page} up"
    page = state.pages[reader.page]
    fenced = bool(state.fences) and not protocol.checks_fence_first
    trusted = not state.rejects_writes or protocol.serves_while_writes_are_rejected
    hit = page and _is_served(page, reader.generation, protocol)
    if page and hit and trusted and (not fenced or protocol.hits_under_fence):
        return _respond(
            state, number, reader._replace(writes=page.writes), "is served by the cache"
        )
    # The database never goes back, so what it returns needs no comparing with what was there.
    bypass = Reader(BYPASS, reader.page)
    if state.rejects_writes:
        return Step(f"{name}: rejected", _with_reader(state, number, bypass))
    if fenced and not protocol.leases_under_fence:
        return Step(f"{name}: fenced", _with_reader(state, number, bypass))
    generation = reader.generation
    if generation is None:
        generation = state.generation or _new_generation(protocol)
        state = state._replace(generation=generation)
    if any(other.has_lease and other.page == reader.page for other in state.readers):
        return Step(f"{name}: leased to another", _with_reader(state, number, bypass))
    missed = Reader(MISSED, reader.page, generation, has_lease=True)
    return Step(f"{name}: a miss", _with_reader(state, number, missed))


def _populate(state: State, protocol: Protocol, number: int, reader: Reader) -> Step:
    what = "populates and responds from the database"
    stamp = reader.generation if protocol.stamp == "captured" else state.generation
    if stamp is None or not _may_populate(state, protocol, reader):
        return _respond(state, number, reader, "responds from the database, and populates nothing")
    before, after = state.pages[reader.page], Page(stamp, reader.writes)
    filled = _respond(_with_page(state, reader.page, after), number, reader, what)
    was_served = before is not None and _is_served(before, state.generation, protocol)
    if was_served and not _is_served(after, state.generation, protocol):
        return filled._replace(broken=filled.broken or USEFUL)
    return filled


def _may_populate(state: State, protocol: Protocol, reader: Reader) -> bool:
    if state.rejects_writes:
        return False
    if protocol.populating_needs == "generation":
        return reader.generation == state.generation
    return reader.has_lease or protocol.populating_needs == "nothing"


def _is_served(page: Page, generation: int | None, protocol: Protocol) -> bool:
    if not protocol.has_generation or not protocol.compares_at_look_up:
        return True
    return page.generation == generation


def _respond(state: State, number: int, reader: Reader, what: str) -> Step:
    """The read ends, which gives its lease back."""
    state = _with_reader(state, number, Reader())
    if state.seen is not None:
        state = state._replace(seen=state.seen | reader.writes)
    broken = None
    if reader.acknowledged & ~reader.writes:
        broken = FRESH
    elif reader.seen and reader.seen & ~reader.writes:
        broken = FORWARD
    return Step(f"reader {number} {what} (page {reader.page})", state, broken)


def _new_generation(protocol: Protocol) -> int:
    return FIRST_COUNT if protocol.counts_generations else FRESH_TOKEN


def _mask(state: State, statuses: frozenset[str]) -> int:
    """The writes in one of these statuses."""
    return sum(1 << n for n, status in enumerate(state.writers) if status in statuses)


def _with_reader(state: State, number: int, reader: Reader) -> State:
    readers = (*state.readers[:number], reader, *state.readers[number + 1 :])
    return state._replace(readers=readers)


def _with_page(state: State, number: int, page: Page | None) -> State:
    return state._replace(pages=(*state.pages[:number], page, *state.pages[number + 1 :]))


def _forgetful(state: State, protocol: Protocol) -> State:
    """The state without what no longer matters.

    Tokens are renamed: the generation is CURRENT, the replica's REPLICATED, and those that neither
    server will have again are DEAD. A page that will never be served is as good as none.
    """
    replica = state.replica

    def renamed(token: int | None) -> int | None:
        if token is None or token == state.generation:
            return None if token is None else CURRENT
        return REPLICATED if replica and token == replica.generation else DEAD

    def served(page: Page | None, generation: int | None) -> Page | None:
        if page is None or not _is_served(page, generation, protocol):
            return None
        return page._replace(generation=renamed(page.generation) or DEAD)

    return state._replace(
        generation=renamed(state.generation),
        pages=tuple(served(page, state.generation) for page in state.pages),
        readers=tuple(
            reader._replace(generation=renamed(reader.generation)) for reader in state.readers
        ),
        replica=replica
        and Replica(
            replica.fences,
            renamed(replica.generation),
            tuple(served(page, replica.generation) for page in replica.pages),
        ),
    )


def _regardless_of_order(state: State) -> State:
    """The same for states that differ in the readers' numbers alone."""
    return state._replace(readers=tuple(sorted(state.readers, key=hash)))


def _path(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (previous := came_from[state]) is not None:
        state, what = previous
        steps.append(what)
    return tuple(reversed(steps))


def main() -> int:
    big = Setting(writers=2, readers=3, pages=2)
    failover = Setting(writers=2, readers=3, pages=1, fails_over=True)
    for setting in (big, big._replace(flushes=True), failover):
        started_at = perf_counter()
        result = search(Protocol(), setting)
        seconds = perf_counter() - started_at
        print(f"{setting}: {result.states} states in {seconds:.0f} s; broken: {result.broken}")
        print(*result.trace, sep="\n")
        if result.broken:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
