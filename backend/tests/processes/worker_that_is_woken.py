"""The worker process; after a pause it takes jobs only because it is woken at the end."""

from functools import partial

from app.container import build_container
from app.logs import configure_logging
from app.queue.config import build_config
from app.settings import load_settings
from saqueduct import Saqueduct
from saqueduct.serving import run_worker_process
from saqueduct.timings import Timings


def main() -> None:
    settings = load_settings().require_servers()
    configure_logging(settings)
    config = build_config(settings, partial(build_container, settings))
    config.timings = Timings(pause_check=36_000.0)
    run_worker_process(Saqueduct(config))


if __name__ == "__main__":
    main()
