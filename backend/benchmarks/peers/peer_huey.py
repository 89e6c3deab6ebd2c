"""huey: a consumer of 8 threads, without results."""

import time

import redis
from common import Countdown, arguments, enqueue_in_turn
from huey import RedisHuey

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)
huey = RedisHuey("bench", results=False, connection_pool=redis.ConnectionPool.from_url(URL))


@huey.task()
def noop(n):
    ended()


if MEASURE == "enqueue":
    enqueue_in_turn(COUNT, lambda: noop(1))
else:
    for number in range(COUNT):
        noop(number)
    huey.create_consumer(workers=8, worker_type="thread", periodic=False, initial_delay=0.01).start()
    time.sleep(3600)
