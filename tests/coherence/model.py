"""The cache's protocol as a state machine, searched to its end, breadth first.

Modelled, as in `shared.cache` and `shared.database.transactions`, each line one atomic step:

    reader  look up: hit · miss with a lease · bypass; read the database; store and respond
    writer  set the fences that its values tell · those that its row tells: send what narrows a
            table's to them, or set one that is lacking · COMMIT · send the clearing and
            acknowledge; or withdraw without COMMIT
    world   a narrowing or a clearing arrives, or is lost; Redis rejects a fence; the writer
            crashes or loses COMMIT's response, before any of its steps; a fence expires (but never
            while its transaction can still commit); a lease or a page expires; the client retries a
            lost write, which is acknowledged then; Redis is flushed; Redis fails over: at some time
            replication stops, then the primary rejects writes, then the replica is promoted; a
            quarantine ends (when the writes in progress at its start are over)

Writers write once, readers read as often as they like, everything interleaves. No reader sees a
statement before COMMIT, so it is not a step of its own, and the fences may be set while it runs.
What a read returns is the set of writes that the database had committed, as a bit mask; only those
that change what the page shows are compared. A token never returns, so of a page's tokens only one
thing matters: whether all of them are still the present ones (`is_valid`).

Invariants:

    FRESH    a read that starts after a write was acknowledged returns that write
    FORWARD  a read that starts after another ended returns all that the other returned; promised
             only while Redis takes fences
    USEFUL   storing never replaces a page that is served by one that never will be

Not modelled: a Redis that some cannot reach while others do, where only the pages' time to live
bounds staleness. `python -m tests.coherence.model` searches bigger settings than the tests do.
"""

import sys
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

FRESH = "a read that starts after a write was acknowledged returns that write"
FORWARD = "a read that starts after another ended returns all that the other returned"
USEFUL = "storing never replaces a page that is served by one that never will be"

STARTED = "started"
FENCED = "fenced"  # its row is not known yet
READY = "ready"  # COMMIT is not sent, or on its way
UNFENCED = "unfenced"  # the same, and Redis rejected its fences
IN_DOUBT = "in doubt"  # its client knows that, and COMMIT is on its way
ENDED = "ended"  # without a commit
COMMITTED = "committed"
COMMITTED_UNFENCED = "committed unfenced"
LOST = "lost"  # committed, but the client does not know
ACKNOWLEDGED = "acknowledged"

IN_DATABASE = frozenset({COMMITTED, COMMITTED_UNFENCED, LOST, ACKNOWLEDGED})
MAY_COMMIT = frozenset({FENCED, READY, UNFENCED, IN_DOUBT})

IDLE = "idle"
BYPASS = "bypass"
MISSED = "missed"
LOADED = "loaded"


class Page(NamedTuple):
    """A cached page: the data that it shows, and the tables and scopes that it depends on."""

    name: str
    shows: frozenset[str]
    depends_on: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> frozenset[str]:
        """The generations that it depends on."""
        parts = {
            f"{table}@{scope}" if scope else f"{table}|all" for table, scope in self.depends_on
        }
        return frozenset(parts | {table for table, _ in self.depends_on})


class Write(NamedTuple):
    """A write: the data that it changes, the fences that it sets, and what it voids.

    `fences` are set before its row is known, `known` are those that stand when it commits.
    `before` is the scope from which it moves the row.
    """

    name: str
    changes: frozenset[str]
    fences: frozenset[str]
    known: frozenset[str]
    voids: frozenset[str]
    before: frozenset[str]

    @property
    def is_narrowed(self) -> bool:
        """Whether the first fences cover the others, so that these are not awaited."""
        return {fence.partition("@")[0] for fence in self.known} <= self.fences


def _page(name: str, shows: str, **depends_on: str) -> Page:
    return Page(name, frozenset(shows.split()), tuple(depends_on.items()))


def _write(
    name: str, changes: str, fences: str, voids: str, known: str = "", before: str = ""
) -> Write:
    words = (changes, fences, known or fences, voids, before)
    return Write(name, *(frozenset(one.split()) for one in words))


BOOKS_OF_7 = _page("books of 7", "7", books="7")
ALL_BOOKS = _page("all books", "7 8", books="")
BOOKS_OF_7_WITH_WRITERS = _page("books of 7 with writers", "7 writers", books="7", writers="")
TAGGED_BOOKS = _page("tagged books", "7 8 tags", books="", tags="")
WRITERS = _page("writers", "writers", writers="")

BOOK_OF_7 = _write("a new book of 7", "7", "books@7", "books|all books@7")
CHANGED_BOOK_OF_7 = _write(
    "a changed book of 7", "7", "books", "books|all books@7", known="books@7"
)
MOVED_BOOK = _write(
    "a book moves from 7 to 8",
    "7 8",
    "books@8",
    "books|all books@7 books@8",
    known="books@7 books@8",
    before="books@7",
)
RENAMED_WRITER = _write("a renamed writer", "writers", "writers", "writers|all")
DELETED_TAG = _write("a deleted tag", "tags", "tags", "tags|all")
DELETED_WRITER = _write(
    "a deleted writer 7, with books and their tags",
    "writers 7 tags",
    "writers books tags",
    "writers|all books|all books@7 tags",
    known="writers books@7 tags",
)


class Protocol(NamedTuple):
    """The protocol as it is; a mutant is one with other values."""

    sets_fences: bool = True
    fences_cascades: bool = True
    """Whether every table that changes has a fence, or the first by name only."""
    fences_scope_before: bool = True
    awaits_lacking_fence: bool = True
    narrows_to_scopes: bool = True
    """Whether the scopes are fenced when the table no longer is."""
    hits_under_fence: bool = False
    leases_under_own_fence: bool = False
    """Whether a page is leased while a fence of its scope stands."""
    clears: bool = True
    """Whether the clearing voids anything."""
    clears_scopes: bool = True
    clears_scope_before: bool = True
    clears_all: bool = True
    expired_fence_voids: bool = True
    fence_outlives_transaction: bool = True
    clears_in_doubt: bool = False
    awaits_clearing_without_fence: bool = True
    depends_on_joined: bool = True
    compares_at_look_up: bool = True
    compares_when_storing: bool = True
    takes_tokens_when_storing: bool = False
    has_quarantine: bool = True
    quarantine_outlives_writes: bool = True
    serves_while_writes_are_rejected: bool = False
    promotion_voids: bool = True


class Setting(NamedTuple):
    writes: tuple[Write, ...]
    pages: tuple[Page, ...]
    readers: int = 2
    flushes: bool = False
    fails_over: bool = False
    fences_fail: bool = False


class Cached(NamedTuple):
    writes: int
    is_valid: bool = True


class Reader(NamedTuple):
    phase: str = IDLE
    page: int = 0
    is_valid: bool = True
    """Whether the tokens that it got are still the present ones."""
    has_lease: bool = False
    writes: int = 0
    acknowledged: int = 0
    """The writes that were acknowledged when the read started."""
    seen: int = 0
    """The writes that reads had returned when the read started."""


class Replica(NamedTuple):
    """The state that was replicated last."""

    fences: int
    known: int
    pages: tuple[Cached | None, ...]


class State(NamedTuple):
    writers: tuple[str, ...]
    fences: int
    """The writers whose first fences stand."""
    known: int
    """The writers whose fences of what they are known to change stand."""
    narrowing: int
    """The writers whose narrowing is on its way."""
    sent: int
    """The writers whose clearing is on its way."""
    pages: tuple[Cached | None, ...]
    readers: tuple[Reader, ...]
    seen: int
    """The writes that reads have returned."""
    quarantine: int | None = None
    """The writes that were in progress when Redis forgot; None outside of a quarantine."""
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
    return Search(protocol, setting).run()


class Search:
    def __init__(self, protocol: Protocol, setting: Setting) -> None:
        self._protocol = protocol
        self._setting = setting
        self._relevant = [
            sum(1 << n for n, write in enumerate(setting.writes) if write.changes & page.shows)
            for page in setting.pages
        ]
        self._fields = [self._fields_of(page) for page in setting.pages]
        self._voids = [self._voided_by(write) for write in setting.writes]
        self._fences = [self._fenced_by(write) for write in setting.writes]
        self._known = [self._known_by(write) for write in setting.writes]

    def run(self) -> Result:
        writers, pages = len(self._setting.writes), len(self._setting.pages)
        start = State(
            writers=(STARTED,) * writers,
            fences=0,
            known=0,
            narrowing=0,
            sent=0,
            pages=(None,) * pages,
            readers=(Reader(),) * self._setting.readers,
            seen=0,
        )
        came_from: dict[State, tuple[State, str] | None] = {start: None}
        visited = {_regardless_of_order(start)}
        frontier = [start]
        while frontier:
            following: list[State] = []
            for state in frontier:
                for what, raw, broken in self._steps(state):
                    if broken:
                        return Result(len(visited), broken, (*_path(came_from, state), what))
                    reached = self._forgetful(raw)
                    key = _regardless_of_order(reached)
                    if key not in visited:
                        visited.add(key)
                        came_from[reached] = (state, what)
                        following.append(reached)
            frontier = following
        return Result(len(visited), None, ())

    def _fields_of(self, page: Page) -> frozenset[str]:
        own = (
            page
            if self._protocol.depends_on_joined
            else page._replace(depends_on=page.depends_on[:1])
        )
        return own.fields

    def _voided_by(self, write: Write) -> frozenset[str]:
        dropped = {
            field
            for field in write.voids
            if ("@" in field and not self._protocol.clears_scopes)
            or (field.endswith("|all") and not self._protocol.clears_all)
            or (field in write.before and not self._protocol.clears_scope_before)
        }
        return write.voids - dropped if self._protocol.clears else frozenset()

    def _fenced_by(self, write: Write) -> frozenset[str]:
        if self._protocol.fences_cascades:
            return write.fences
        return frozenset({max(write.fences)})

    def _known_by(self, write: Write) -> frozenset[str]:
        known = write.known
        if not self._protocol.fences_cascades:
            known &= self._fenced_by(write)
        if not self._protocol.fences_scope_before:
            known -= write.before
        if not self._protocol.narrows_to_scopes:
            known &= write.fences
        return known

    def _steps(self, state: State) -> Iterator[Step]:
        for number in range(len(state.writers)):
            yield from self._writer_steps(state, number)
        for number in range(len(state.readers)):
            yield from self._reader_steps(state, number)
        for number, page in enumerate(state.pages):
            if page is not None:
                yield Step(f"page {number} expires", _with_page(state, number, None))
        if self._setting.flushes:
            yield Step("Redis is flushed", self._forgotten(state, fences=0, known=0))
        if state.quarantine is not None and self._may_end_quarantine(state):
            yield Step("the quarantine ends", state._replace(quarantine=None))
        if self._setting.fails_over and not state.promoted:
            yield self._next_of_failover(state)

    def _may_end_quarantine(self, state: State) -> bool:
        if not self._protocol.quarantine_outlives_writes:
            return True
        in_progress = _mask(state, MAY_COMMIT)
        return not (state.quarantine or 0) & in_progress

    def _forgotten(self, state: State, fences: int, known: int) -> State:
        """The state of a Redis that begins with these fences, and trusts no page."""
        quarantine = _mask(state, MAY_COMMIT) if self._protocol.has_quarantine else None
        return state._replace(
            fences=fences,
            known=known,
            pages=(None,) * len(state.pages),
            readers=tuple(one._replace(has_lease=False, is_valid=False) for one in state.readers),
            quarantine=quarantine,
        )

    def _next_of_failover(self, state: State) -> Step:
        if state.replica is None:
            replica = Replica(state.fences, state.known, state.pages)
            return Step("nothing is replicated any more", state._replace(replica=replica))
        if not state.rejects_writes:
            return Step("the primary rejects writes", state._replace(rejects_writes=True))
        fences, known, pages = state.replica
        ended = state._replace(replica=None, rejects_writes=False, promoted=True)
        if self._protocol.promotion_voids:
            promoted = self._forgotten(ended, fences, known)
        else:
            promoted = ended._replace(fences=fences, known=known, pages=pages)
        return Step("the replica is promoted", promoted)

    def _writer_steps(self, state: State, number: int) -> Iterator[Step]:
        status, bit, name = state.writers[number], 1 << number, f"writer {number}"
        may_expire = not (self._protocol.fence_outlives_transaction and status in MAY_COMMIT)
        if (state.fences | state.known) & bit and may_expire and not state.rejects_writes:
            expired = _without_fences(state, bit)
            if self._protocol.expired_fence_voids:
                standing = self._standing(state, number)
                fenced = {fence.partition("@")[0] for fence in standing}
                expired = self._void(expired, frozenset(fenced))
            yield Step(f"{name}'s fence expires", expired)
        if state.narrowing & bit:
            sent = state._replace(narrowing=state.narrowing & ~bit)
            yield Step(f"{name}'s narrowing is lost", sent)
            if not state.rejects_writes:
                narrowed = _without_fences(sent, bit)._replace(known=sent.known | bit)
                yield Step(f"{name}'s narrowing arrives", narrowed)
        if state.sent & bit:
            sent = state._replace(sent=state.sent & ~bit)
            yield Step(f"{name}'s clearing is lost", sent)
            if not state.rejects_writes:
                yield Step(f"{name}'s clearing arrives", self._cleared(sent, number))
        for new, what, after in self._moves(state, number, status, bit):
            yield Step(f"{name} {what}", _with_writer(after, number, new))

    def _moves(
        self, state: State, number: int, status: str, bit: int
    ) -> Iterator[tuple[str, str, State]]:
        """The writer's next status, what it did, and the state but for the status."""
        if status == STARTED:
            yield from self._moves_to_fence(state, number, bit)
        elif status in (FENCED, READY, UNFENCED):
            yield ENDED, "crashes before COMMIT", state
            yield ENDED, "withdraws its fences", _without_fences(state, bit)
        if status == FENCED:
            yield from self._moves_when_row_is_known(state, number, bit)
        elif status in (READY, UNFENCED):
            committed = COMMITTED if status == READY else COMMITTED_UNFENCED
            yield committed, "commits", state
        if status == READY:
            in_doubt = self._cleared(state, number) if self._protocol.clears_in_doubt else state
            yield IN_DOUBT, "crashes or times out while COMMIT is on its way", in_doubt
        elif status == IN_DOUBT:
            yield LOST, "is gone, and its COMMIT arrives", state
            yield ENDED, "is gone, and its transaction is rolled back", state
        elif status == LOST:
            yield ACKNOWLEDGED, "is retried by its client, and finds its work done", state
        elif status in (COMMITTED, COMMITTED_UNFENCED):
            yield from self._moves_after_commit(state, number, status, bit)

    def _moves_when_row_is_known(
        self, state: State, number: int, bit: int
    ) -> Iterator[tuple[str, str, State]]:
        write, known = self._setting.writes[number], self._known[number]
        if known <= self._fences[number] and not write.is_narrowed:
            yield READY, "knows its row", state
        elif write.is_narrowed or not self._protocol.awaits_lacking_fence:
            sent = state._replace(narrowing=state.narrowing | bit)
            yield READY, "knows its row, and sends its narrowing", sent
        else:
            if not state.rejects_writes:
                yield READY, "sets the fence that it lacks", state._replace(known=state.known | bit)
            if state.rejects_writes or self._setting.fences_fail:
                yield UNFENCED, "sets no other fence, as Redis takes none", state

    def _moves_to_fence(
        self, state: State, number: int, bit: int
    ) -> Iterator[tuple[str, str, State]]:
        if not state.rejects_writes:
            fences = state.fences | bit if self._protocol.sets_fences else state.fences
            write = self._setting.writes[number]
            status = READY if write.known == write.fences else FENCED
            yield status, "sets its fences", state._replace(fences=fences)
        if state.rejects_writes or self._setting.fences_fail:
            yield UNFENCED, "sets no fence, as Redis takes none", state

    def _moves_after_commit(
        self, state: State, number: int, status: str, bit: int
    ) -> Iterator[tuple[str, str, State]]:
        if status == COMMITTED:
            yield LOST, "crashes after COMMIT", state
        if status == COMMITTED or not self._protocol.awaits_clearing_without_fence:
            sent = state._replace(sent=state.sent | bit)
            yield ACKNOWLEDGED, "acknowledges, its clearing sent", sent
        else:
            after = state if state.rejects_writes else self._cleared(state, number)
            yield ACKNOWLEDGED, "clears, and acknowledges", after

    def _cleared(self, state: State, number: int) -> State:
        return self._void(_without_fences(state, 1 << number), self._voids[number])

    def _void(self, state: State, fields: frozenset[str]) -> State:
        """Give these generations new tokens."""
        touched = [bool(fields & own) for own in self._fields]
        return state._replace(
            pages=tuple(
                page and page._replace(is_valid=page.is_valid and not touched[number])
                for number, page in enumerate(state.pages)
            ),
            readers=tuple(
                one._replace(is_valid=one.is_valid and not touched[one.page])
                if one.phase in (MISSED, LOADED)
                else one
                for one in state.readers
            ),
        )

    def _standing(self, state: State, number: int) -> frozenset[str]:
        """The writer's fences that stand."""
        first = self._fences[number] if state.fences & 1 << number else frozenset()
        return first | (self._known[number] if state.known & 1 << number else frozenset())

    def _all_standing(self, state: State) -> frozenset[str]:
        return frozenset().union(*(self._standing(state, n) for n in range(len(state.writers))))

    def _is_fenced(self, state: State, page: Page) -> bool:
        standing = self._all_standing(state)
        depends_on = page.depends_on if self._protocol.depends_on_joined else page.depends_on[:1]
        return any(
            fenced == table and (not scope or not fenced_scope or fenced_scope == scope)
            for table, scope in depends_on
            for fenced, _, fenced_scope in (fence.partition("@") for fence in standing)
        )

    def _may_lease(self, state: State, page: Page) -> bool:
        """False while the page's scope is fenced; a fence of the table may be narrowed later."""
        table, scope = page.depends_on[0]
        standing = self._all_standing(state)
        own = (
            {f"{table}@{scope}"} if scope else {f for f in standing if f.partition("@")[0] == table}
        )
        return self._protocol.leases_under_own_fence or standing.isdisjoint(own)

    def _reader_steps(self, state: State, number: int) -> Iterator[Step]:
        reader = state.readers[number]
        name = f"reader {number}"
        if reader.has_lease:
            expired = reader._replace(has_lease=False)
            yield Step(f"{name}'s lease expires", _with_reader(state, number, expired))
        if reader.phase == IDLE:
            floor = Reader(acknowledged=_mask(state, frozenset({ACKNOWLEDGED})), seen=state.seen)
            for page in range(len(state.pages)):
                yield self._look_up(state, number, floor._replace(page=page))
        elif reader.phase == BYPASS:
            loaded = reader._replace(writes=_mask(state, IN_DATABASE))
            yield self._respond(state, number, loaded, "responds from the database")
        elif reader.phase == MISSED:
            loaded = reader._replace(phase=LOADED, writes=_mask(state, IN_DATABASE))
            yield Step(f"{name} reads the database", _with_reader(state, number, loaded))
        else:
            yield self._store(state, number, reader)

    def _look_up(self, state: State, number: int, reader: Reader) -> Step:
        """The script LOOK_UP. A reader that finds another's lease reads the database later."""
        name = f"reader {number} looks page {reader.page} up"
        cached, page = state.pages[reader.page], self._setting.pages[reader.page]
        fenced = self._is_fenced(state, page)
        trusted = not state.rejects_writes or self._protocol.serves_while_writes_are_rejected
        trusted = trusted and state.quarantine is None
        is_hit = cached is not None and (cached.is_valid or not self._protocol.compares_at_look_up)
        if cached and is_hit and trusted and (not fenced or self._protocol.hits_under_fence):
            hit = reader._replace(writes=cached.writes)
            return self._respond(state, number, hit, "is served by the cache")
        # Reads of the database are monotonic, so those that bypass the cache are not compared.
        bypass = Reader(BYPASS, reader.page)
        if not trusted:
            return Step(f"{name}: not trusted", _with_reader(state, number, bypass))
        if (cached and is_hit and fenced) or not self._may_lease(state, page):
            return Step(f"{name}: fenced", _with_reader(state, number, bypass))
        if any(other.has_lease and other.page == reader.page for other in state.readers):
            return Step(f"{name}: leased to another", _with_reader(state, number, bypass))
        missed = Reader(MISSED, reader.page, has_lease=True)
        return Step(f"{name}: a miss", _with_reader(state, number, missed))

    def _store(self, state: State, number: int, reader: Reader) -> Step:
        takes = self._protocol.takes_tokens_when_storing
        is_valid = reader.is_valid or takes
        if state.rejects_writes or (self._protocol.compares_when_storing and not reader.is_valid):
            return self._respond(
                state, number, reader, "responds from the database, storing nothing"
            )
        before, after = state.pages[reader.page], Cached(reader.writes, is_valid)
        stored = _with_page(state, reader.page, after)
        step = self._respond(stored, number, reader, "stores and responds from the database")
        if before is not None and before.is_valid and not after.is_valid:
            return step._replace(broken=step.broken or USEFUL)
        return step

    def _respond(self, state: State, number: int, reader: Reader, what: str) -> Step:
        """The read ends, which gives its lease back."""
        # Without a fence, a page from before a COMMIT is served until the write is acknowledged.
        is_followed = not self._setting.fences_fail
        shown = reader.writes & self._relevant[reader.page] if is_followed else 0
        state = _with_reader(state, number, Reader())._replace(seen=state.seen | shown)
        missing = self._relevant[reader.page] & ~reader.writes
        broken = None
        if reader.acknowledged & missing:
            broken = FRESH
        elif reader.seen & missing:
            broken = FORWARD
        return Step(f"reader {number} {what} (page {reader.page})", state, broken)

    def _forgetful(self, state: State) -> State:
        """The state without what no longer matters: a page that will never be served is as good as
        none."""
        if not self._protocol.compares_at_look_up:
            return state
        return state._replace(
            pages=tuple(page if page and page.is_valid else None for page in state.pages),
            replica=state.replica
            if self._protocol.promotion_voids is False
            else state.replica and state.replica._replace(pages=()),
        )


def _mask(state: State, statuses: frozenset[str]) -> int:
    """The writes in one of these statuses."""
    return sum(1 << n for n, status in enumerate(state.writers) if status in statuses)


def _without_fences(state: State, bit: int) -> State:
    return state._replace(fences=state.fences & ~bit, known=state.known & ~bit)


def _with_writer(state: State, number: int, status: str) -> State:
    writers = (*state.writers[:number], status, *state.writers[number + 1 :])
    return state._replace(writers=writers)


def _with_reader(state: State, number: int, reader: Reader) -> State:
    readers = (*state.readers[:number], reader, *state.readers[number + 1 :])
    return state._replace(readers=readers)


def _with_page(state: State, number: int, page: Cached | None) -> State:
    return state._replace(pages=(*state.pages[:number], page, *state.pages[number + 1 :]))


def _regardless_of_order(state: State) -> State:
    """The same for states that differ in the readers' numbers alone."""
    return state._replace(readers=tuple(sorted(state.readers)))


def _path(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (previous := came_from[state]) is not None:
        state, what = previous
        steps.append(what)
    return tuple(reversed(steps))


BIG = (
    Setting((BOOK_OF_7, CHANGED_BOOK_OF_7), (BOOKS_OF_7, ALL_BOOKS), readers=3, flushes=True),
    Setting(
        (MOVED_BOOK, RENAMED_WRITER), (BOOKS_OF_7_WITH_WRITERS, WRITERS), readers=3, flushes=True
    ),
    Setting((DELETED_WRITER, BOOK_OF_7), (TAGGED_BOOKS, BOOKS_OF_7), readers=3),
    Setting((DELETED_WRITER, DELETED_TAG), (TAGGED_BOOKS,), readers=3, fails_over=True),
)


def main() -> int:
    for setting in BIG:
        started_at = perf_counter()
        result = search(Protocol(), setting)
        seconds = perf_counter() - started_at
        names = [*(one.name for one in setting.writes), *(one.name for one in setting.pages)]
        print(*names, sep=", ")
        print(f"  {result.states} states in {seconds:.0f} s; broken: {result.broken}")
        print(*result.trace, sep="\n")
        if result.broken:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
