"""Of two things at the same time neither outlives the other, and no error is lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from shared.concurrency import run_both
from tests.event_loop import run


async def late(ended: list[str], result: str, error: Exception | None = None) -> str:
    await asyncio.sleep(0.01)
    ended.append(result)
    if error is not None:
        raise error
    return result


async def fail(error: Exception) -> str:
    raise error


def test_both_results_are_returned() -> None:
    assert run(_both(late([], "first"), late([], "second"))) == ("first", "second")


@pytest.mark.parametrize("fails_first", [True, False])
def test_the_error_of_one_is_raised_when_the_other_has_ended(*, fails_first: bool) -> None:
    ended: list[str] = []
    failing, other = fail(LookupError("failed")), late(ended, "other")
    both = (failing, other) if fails_first else (other, failing)
    with pytest.raises(LookupError, match="failed"):
        run(_both(*both))
    assert ended == ["other"]


def test_of_two_errors_the_first_ones_is_raised() -> None:
    ended: list[str] = []
    with pytest.raises(LookupError, match="first"):
        run(_both(late(ended, "one", LookupError("first")), fail(ValueError("second"))))
    assert ended == ["one"]


async def _both(
    first: Coroutine[Any, Any, str], second: Coroutine[Any, Any, str]
) -> tuple[str, str]:
    return await run_both(first, second)
