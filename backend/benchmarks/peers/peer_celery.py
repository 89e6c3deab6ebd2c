"""Celery: the solo pool, which has no overhead of processes, 64 prefetched, results ignored."""

from celery import Celery
from common import Countdown, arguments, enqueue_in_turn

MEASURE, URL, COUNT, _ = arguments()
ended = Countdown(COUNT)
# Celery writes unix sockets in its own way.
app = Celery("bench", broker=URL.replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, worker_redirect_stdouts=False)


@app.task
def noop(n):
    ended()
    return n


if MEASURE == "enqueue":
    enqueue_in_turn(COUNT, lambda: noop.delay(1))
else:
    for number in range(COUNT):
        noop.delay(number)
    app.worker_main(["worker", "--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])
