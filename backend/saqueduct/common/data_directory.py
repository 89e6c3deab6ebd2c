"""The folder of what development keeps on this machine."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from saqueduct.common.secret import Secret


def make(directory: Path) -> Path:
    """Make the folder unless it exists, kept out of Git; returns it."""
    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="ascii")
    return directory


def development_key(directory: Path) -> Secret:
    """The key in `directory/secret_key`; made at the first call, readable by its owner only.

    A file and not a key in memory: a reload, or a second process, must not invalidate every token.
    """
    path = directory / "secret_key"
    if not path.exists():
        make(directory)
        _create_whole(path, secrets.token_hex(32))
    return Secret(path.read_text(encoding="ascii"))


def _create_whole(path: Path, text: str) -> None:
    """Create the file with its text in one step (mode 0600), unless another process was first."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
