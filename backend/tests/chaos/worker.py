"""The worker process of a chaos run: the application's worker with the tasks of one version of the code."""

import os

from app.worker import main
from tests.chaos.tasks import VERSION, install

if __name__ == "__main__":
    install(int(os.environ[VERSION]))
    main()
