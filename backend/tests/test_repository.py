"""The repository holds source: no downloads, no build products."""

import subprocess

from app.settings import REPOSITORY

LARGEST = 500_000
"""Bytes of a file."""


def test_no_file_is_larger_than_source_is() -> None:
    # Also what is not committed yet: nothing but what .gitignore names is left out.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    assert paths
    assert [str(path) for path in paths if path.exists() and path.stat().st_size > LARGEST] == []
