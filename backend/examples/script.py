"""A script: enqueues jobs, runs a worker beside itself, and waits for the results. REDIS_URL says where Redis is.

python script.py
"""

import asyncio

from saqueduct import Context, Saqueduct, SaqueductConfig, enqueue_many, task


@task(retries=3)
async def square(ctx: Context, *, number: int) -> int:
    return number * number


async def main() -> None:
    async with Saqueduct(SaqueductConfig()) as saqueduct, saqueduct.working():
        jobs = await enqueue_many(square.bind(number=number) for number in range(5))
        print([await job.result(timeout=10) for job in jobs])


if __name__ == "__main__":
    asyncio.run(main())
