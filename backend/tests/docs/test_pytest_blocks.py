"""Tests in the documents, collected by pytest as if they were written here."""

from pathlib import Path
from typing import Any

from saqueduct.testing import JobKit
from tests.docs.reading import BY_PYTEST, DOCUMENTS, REPOSITORY, python_blocks

PAGE = REPOSITORY / "docs/how-to/test-your-tasks.md"


def collected_from(document: Path) -> dict[str, Any]:
    """The tests of a document, under names that contain its own; its blocks run in one module."""
    namespace: dict[str, Any] = {"__name__": __name__}
    where = str(document.relative_to(REPOSITORY))
    for number, (marker, code) in enumerate(python_blocks(document)):
        if marker == BY_PYTEST:
            exec(compile(code, f"{where}, block {number + 1}", "exec"), namespace)  # noqa: S102  (our own documents)
    page = document.stem.replace("-", "_")
    return {f"test_in_{page}__{name}": value for name, value in namespace.items() if name.startswith("test_")}


for each in DOCUMENTS:
    globals().update(collected_from(each))


def test_the_page_of_the_kit_names_all_that_it_has() -> None:
    text = PAGE.read_text()
    members = [name for name in vars(JobKit) if not name.startswith("_") and name != "close"]
    assert [name for name in members if f"`{name}" not in text and f"jobs.{name}" not in text] == []
    assert len(collected_from(PAGE)) >= 8
