"""`python -m app.dev COMMAND`, run in backend/; `make` calls it."""

import signal


def main() -> None:
    """Run a command; Ctrl-C before it has begun just ends it, without a traceback from an import."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from app.dev.cli import run

    run()


if __name__ == "__main__":
    main()
