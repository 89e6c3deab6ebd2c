"""The machine that was measured on, without its name."""

import os
import platform
import re
from pathlib import Path

import psutil
import redis


def describe(url: str) -> dict[str, str]:
    """Processor, memory, and the versions that matter."""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "Redis": f"{redis_of(url)}, append-only file on, as the application's own",
    }


def redis_of(url: str) -> str:
    """Version of a Redis and its allocator, on whose speed that of scripts depends."""
    with redis.Redis.from_url(url) as client:
        version, allocator = client.info("server")["redis_version"], client.info("memory")["mem_allocator"]
    return f"{version} ({allocator.split('-')[0]})"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
