"""What the scripts of the contenders share; standard library only, as each runs in an environment of its own.

A script is called as `script.py MEASURE URL COUNT [name=value ...]` and prints one line of JSON.
"""

import asyncio
import itertools
import json
import os
import sys
import time

SLEEP = 0.01
"""Seconds that a job of the kind "sleep" takes."""

PRODUCERS = 100
"""Coroutines that enqueue at once, where a contender has coroutines."""


def show(**figures):
    """Print the figures."""
    print(json.dumps(figures), flush=True)


class Countdown:
    """Called by every job: measures from the first to the last, and ends the process then."""

    def __init__(self, count):
        self.count = count
        self._numbers = itertools.count(1)
        self._began = 0.0

    def __call__(self):
        number = next(self._numbers)
        if number == 1:
            self._began = time.perf_counter()
        if number == self.count:
            show(jobs_per_second=(self.count - 1) / (time.perf_counter() - self._began))
            os._exit(0)


class Seen:
    """The jobs that ran here: how many, and when the first and the last began, in seconds of the monotonic clock."""

    def __init__(self):
        self.count = 0
        self.first = self.last = 0.0

    def note(self):
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.count += 1


async def enqueue_at_once(count, enqueue):
    """Enqueue by PRODUCERS coroutines, each call on its own; show the rate."""

    async def produce():
        for _ in range(count // PRODUCERS):
            await enqueue()

    began = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
    show(jobs_per_second=count // PRODUCERS * PRODUCERS / (time.perf_counter() - began))


def enqueue_in_turn(count, enqueue):
    """Enqueue one after the other; show the rate."""
    began = time.perf_counter()
    for _ in range(count):
        enqueue()
    show(jobs_per_second=count / (time.perf_counter() - began))


def arguments():
    """Measure, URL, count, and what else was given."""
    measure, url, count, *others = sys.argv[1:]
    return measure, url, int(count), dict(each.split("=", 1) for each in others)
