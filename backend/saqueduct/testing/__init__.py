"""The test kit: a pytest plugin that enqueues, runs and looks at jobs, on a real Redis with real workers.

`pytest_plugins = ["saqueduct.testing"]` in a conftest.py, and there three fixtures of the project: `queue_setup`
(see `QueueSetup`), `queues` (connected, empty) and `injector`. Tests then have:

- `jobs`: the kit, see `JobKit`.
- `worker`: `with worker(): ...` runs workers beside a test that has no event loop.
- `@pytest.mark.queue(mode="inline")`: see `Mode`.

PYTEST_DONT_REWRITE: there are no assert statements here, and a conftest may import this first.
"""

from saqueduct.testing.kit import JobKit, Journey, Mode
from saqueduct.testing.plugin import WorkerFixture, _queue_mode, jobs, pytest_configure, queue_setup, worker
from saqueduct.testing.running import Drained, NotDrained
from saqueduct.testing.setup import QueueSetup

__all__ = [
    "Drained",
    "JobKit",
    "Journey",
    "Mode",
    "NotDrained",
    "QueueSetup",
    "WorkerFixture",
    "_queue_mode",
    "jobs",
    "pytest_configure",
    "queue_setup",
    "worker",
]
