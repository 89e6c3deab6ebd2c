"""The folder for development data on this machine."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from saqueduct.common.secret import Secret


def make(directory: Path) -> Path:
    """Create the folder unless it exists, and exclude it from Git; returns it."""
    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="ascii")
    return directory


def development_key(directory: Path) -> Secret:
    """The key in `directory/secret_key`; created at the first call, readable only by its owner.

    A file instead of a key in memory, because a reload or a second process must not invalidate every token.
    """
    path = directory / "secret_key"
    if not path.exists():
        make(directory)
        _create_whole(path, secrets.token_hex(32))
    return Secret(path.read_text(encoding="ascii"))


def _create_whole(path: Path, text: str) -> None:
    """Create the file with its text in one step (mode 0600), unless another process has created it first."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
