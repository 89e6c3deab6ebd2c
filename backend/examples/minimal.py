from litestar import Litestar, post
from litestar.params import FromQuery
from saqueduct import Context, scheduled_task, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin


@task(retries=3)
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b


@scheduled_task(cron="* * * * *")
async def ping(ctx: Context) -> str:
    return "pong"


@post("/add")
async def start(a: FromQuery[int], b: FromQuery[int]) -> dict[str, str]:
    job = await add.enqueue(a=a, b=b)
    return {"job_id": job.key}


app = Litestar([start], plugins=[SaqueductPlugin(SaqueductConfig(redis_url="redis://127.0.0.1:6379/0"))])
