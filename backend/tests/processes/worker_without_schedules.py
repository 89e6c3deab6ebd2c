"""The worker process with tasks of tests and without schedules: its jobs are those that a test has enqueued."""

from app.worker import main
from saqueduct import get_registry
from tests.processes import worker_with_test_tasks  # noqa: F401  (its tasks)

for task in get_registry().get_all_tasks():
    task.schedules = ()

if __name__ == "__main__":
    main()
