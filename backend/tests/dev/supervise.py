"""A runner with scratch programs, run by the tests as a process: `python -m tests.dev.supervise FOLDER GRACE NAME...`.

Program NAME is FOLDER/NAME.py; a change of a Python file in FOLDER, or of FOLDER/.env, restarts all of them.
"""

import asyncio
import os
import sys
from pathlib import Path

from app.dev.console import Console
from app.dev.program import Program
from app.dev.runner import Runner, StopSignal
from app.dev.watch import Watch


async def main(folder: Path, grace: float, names: list[str]) -> None:
    console = Console(names)
    runner = Runner(
        [Program(name, (sys.executable, f"{name}.py")) for name in names],
        environment={"GIVEN": "by the runner"},
        directory=folder,
        grace=grace,
        watch=Watch([folder], folder / ".env"),
        console=console,
        stop=StopSignal(console),
        settled=float(os.environ.get("SETTLED", "5")),
    )

    async def announce() -> None:
        console.say("supervising")

    await runner.run(announce)


asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
