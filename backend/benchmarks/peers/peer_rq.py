"""RQ: its SimpleWorker, which runs jobs in its own process, without results."""

import logging
import sys

import redis
from common import Countdown, arguments, enqueue_in_turn
from rq import Queue, SimpleWorker

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)


def noop(n):
    ended()
    return n


# RQ looks functions up by module and name.
sys.modules["peer_rq"] = sys.modules["__main__"]
noop.__module__ = "peer_rq"
logging.disable(logging.INFO)
connection = redis.Redis.from_url(URL)
queue = Queue(connection=connection)
if MEASURE == "enqueue":
    enqueue_in_turn(COUNT, lambda: queue.enqueue(noop, 1, result_ttl=0))
else:
    prepared = [Queue.prepare_data(noop, (number,), result_ttl=0) for number in range(COUNT)]
    queue.enqueue_many(prepared)
    SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")
