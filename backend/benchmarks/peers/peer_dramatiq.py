"""dramatiq: a worker of 8 threads, the default, without results."""

import time

import dramatiq
from common import Countdown, arguments, enqueue_in_turn
from dramatiq.brokers.redis import RedisBroker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)
broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(n):
    ended()


if MEASURE == "enqueue":
    enqueue_in_turn(COUNT, lambda: noop.send(1))
else:
    for number in range(COUNT):
        noop.send(number)
    dramatiq.Worker(broker, worker_threads=8).start()
    time.sleep(3600)
