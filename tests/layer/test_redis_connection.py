"""Calls on the worker's Redis connection: two scripts may share one call."""

import pytest
import redis

from shared.cache.redis_connection import Call, Script
from shared.cache.scripts import redis_scripts
from tests.conftest import Worker

SET = Script("redis.call('SET', KEYS[1], ARGV[1])")
ECHO = Script("return {KEYS[1], ARGV[1], #KEYS, #ARGV}", lambda result: len(result) == 4)


@pytest.mark.usefixtures("services")
def test_each_of_two_scripts_has_its_own_keys_and_arguments(
    worker: Worker, cache: redis.Redis
) -> None:
    both = Call(SET, ["one"], ["1"]).before(Call(ECHO, ["two"], ["2"]))
    results = worker.run(redis_scripts().connection.run(both))
    assert results == [None, [b"two", b"2", 1, 2]]  # the tag is an argument, too
    assert cache.get("one") == b"1"


@pytest.mark.usefixtures("services")
def test_the_first_of_three_scripts_is_answered_beside_none(worker: Worker) -> None:
    echo, nothing = Call(ECHO, ["two"], ["2"]), Call(Script(""), [])
    both = echo.before(nothing).before(nothing)
    results = worker.run(redis_scripts().connection.run(both))
    assert results == [[[b"two", b"2", 1, 1], None], None]


@pytest.mark.usefixtures("services")
def test_a_result_that_one_of_the_scripts_cannot_have_is_no_response(worker: Worker) -> None:
    echo = Script(ECHO.text)  # may return only None
    both = Call(SET, ["one"], ["1"]).before(Call(echo, ["two"], ["2"]))
    with pytest.raises(redis.exceptions.InvalidResponse):
        worker.run(redis_scripts().connection.run(both))
