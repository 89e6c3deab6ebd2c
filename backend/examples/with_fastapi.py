"""FastAPI: the queue in the lifespan, the worker in a process of its own. REDIS_URL says where Redis is.

uvicorn with_fastapi:app
python with_fastapi.py      # the worker; SIGTERM lets running jobs end
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from saqueduct import Context, JobNotFound, Saqueduct, SaqueductConfig, task
from saqueduct.serving import run_worker_process


@task(retries=3)
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b


saqueduct = Saqueduct(SaqueductConfig())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with saqueduct:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/add")
async def start(a: int, b: int) -> dict[str, str]:
    job = await add.enqueue(a=a, b=b)
    return {"job_id": job.key}


@app.get("/jobs/{key}")
async def show(key: str) -> dict[str, object]:
    try:
        job = await saqueduct.queues.find(key)
    except JobNotFound as error:
        raise HTTPException(404, str(error)) from error
    return {"status": job.status, "result": job.result}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_worker_process(saqueduct)
