"""Run a module on a database that is up to date: `python -m app.dev.migrated MODULE ARGUMENTS...`.

The migrations and the module share a start of Python, whose imports take longer than both.
"""

import io
import runpy
import signal
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

import click

from app.db.migrate import run

EXIT_FAILED = 1


def main() -> None:
    """Migrate, and run the module as `python -m` does; what the migrations print is shown only when they fail."""
    # Ctrl-C before the module begins just ends this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    migrate()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def migrate() -> None:
    """Apply all migrations; if they fail, show what they printed and end with their status."""
    output = io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(output):
            run()
        return
    except SystemExit as end:
        status = end.code
    except Exception:
        traceback.print_exc(file=output)
        status = EXIT_FAILED
    click.echo(f"{output.getvalue()}the migrations failed: see above", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
