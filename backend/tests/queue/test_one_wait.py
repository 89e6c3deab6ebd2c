"""What the calls of a request share when Redis does not answer one of them."""

import asyncio

import pytest

from saqueduct.broker.outage import SAME_OUTAGE, OneWait, answering, is_silent, one_wait, own_time
from saqueduct.errors import QueueUnavailable


def test_a_call_after_one_without_an_answer_gets_what_is_left_of_its_time() -> None:
    wait = OneWait()
    assert wait.end_of(10.0, 5.0) == 15.0
    wait.failed(10.0, 12.0)
    assert wait.end_of(12.5, 5.0) == 15.0
    assert wait.end_of(12.5, 1.0) == 12.5
    wait.failed(12.5, 15.0)
    assert wait.end_of(15.0, 5.0) == 15.0


def test_a_call_gets_its_own_time_once_redis_has_answered_or_later_or_after_the_request() -> None:
    wait = OneWait()
    wait.failed(10.0, 15.0)
    later = 15.0 + 2 * SAME_OUTAGE
    assert wait.end_of(later, 5.0) == later + 5.0
    wait.failed(later, later + 5.0)
    assert wait.end_of(later + 5.0, 7.0) == later + 7.0
    wait.answered()
    assert wait.end_of(later + 5.0, 7.0) == later + 12.0
    wait.failed(later, later + 5.0)
    wait.is_over = True
    assert wait.end_of(later + 5.0, 7.0) == later + 12.0


async def test_calls_note_whether_redis_answers() -> None:
    wait = OneWait()
    token = one_wait.set(wait)
    loop = asyncio.get_running_loop()
    try:
        with pytest.raises(QueueUnavailable):
            async with answering(0.01):
                await asyncio.Event().wait()
        assert wait.end_of(loop.time(), 5.0) < loop.time() + 5.0
        async with answering(5.0):
            await asyncio.sleep(0)
        now = loop.time()
        assert wait.end_of(now, 5.0) == now + 5.0
    finally:
        one_wait.reset(token)


async def test_a_request_that_tries_again_and_again_notices_that_redis_is_back() -> None:
    now = asyncio.get_running_loop().time()
    token = one_wait.set(wait := OneWait())
    wait.failed(now - 5.0, now - 0.9 * SAME_OUTAGE)
    try:
        # It has no time for an answer.
        with pytest.raises(QueueUnavailable):
            async with answering(5.0 - SAME_OUTAGE):
                await asyncio.Event().wait()
        later = now + 0.2 * SAME_OUTAGE
        assert wait.end_of(later, 5.0) == later + 5.0
    finally:
        one_wait.reset(token)


async def test_a_block_that_asks_nothing_does_not_count_as_an_answer() -> None:
    token = one_wait.set(wait := OneWait())
    now = asyncio.get_running_loop().time()
    wait.failed(now - 5.0, now)
    try:
        async with answering(5.0):
            pass
        assert is_silent()
        assert wait.end_of(now, 5.0) == now
        with own_time():
            assert not is_silent()
    finally:
        one_wait.reset(token)
