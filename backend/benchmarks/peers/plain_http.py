"""The handler of a guide on plain Litestar and litestar-saq: enqueues a job of SAQ's and answers with its id."""

import logging
import os

import uvicorn
from litestar import Litestar, post
from litestar.params import FromQuery
from litestar_saq import QueueConfig, SAQConfig, SAQPlugin, TaskQueues

# As the application: nothing is logged of a request that goes well.
logging.getLogger("saq").setLevel(logging.WARNING)


async def my_task(ctx, *, user_id: int) -> dict[str, object]:
    return {"status": "success", "user_id": user_id}


@post("/process")
async def process(task_queues: TaskQueues, user_id: FromQuery[int]) -> dict[str, str]:
    job = await task_queues.get("default").enqueue("my_task", user_id=user_id)
    return {"job_id": job.id}


queues = [QueueConfig(dsn=os.environ["REDIS_URL"], name="default", tasks=[my_task])]
app = Litestar(
    [process],
    plugins=[SAQPlugin(SAQConfig(queue_configs=queues, enable_otel=False))],
    logging_config=None,
    openapi_config=None,
)

uvicorn.run(app, host="127.0.0.1", port=int(os.environ["WEB_PORT"]), log_config=None, access_log=False)
