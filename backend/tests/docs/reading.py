"""Reads the documents, and what they must agree with."""

import ast
import itertools
import re
from pathlib import Path

from app.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "ops/*.md", "backend/benchmarks/*.md")
    for path in REPOSITORY.glob(pattern)
)

BY_PYTEST = "<!-- run: by pytest -->"
"""Stands before a block whose tests pytest collects, with their marks and any fixture."""

NOT_RUN = re.compile(r"<!-- not run: .+ -->\s*$")


def name(path: Path) -> str:
    """The document's path in the repository, for test ids."""
    return str(path.relative_to(REPOSITORY))


def make_targets() -> set[str]:
    """The targets that `make help` lists."""
    makefile = (REPOSITORY / "Makefile").read_text()
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def python_blocks(document: Path) -> list[tuple[str, str]]:
    """Each Python block, with the comment before it; those marked "not run" are left out."""
    text = document.read_text()
    blocks = []
    for match in re.finditer(r"^( *)```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()].rstrip()
        marker = before.splitlines()[-1].strip() if before else ""
        if not NOT_RUN.search(marker):
            code = re.sub(f"^{match[1]}", "", match[2], flags=re.MULTILINE)
            blocks.append((marker, code))
    return blocks


def table_column(document: Path, column: int = 0) -> list[str]:
    """The words in backticks in a column of all tables."""
    rows = re.findall(r"^\|(.+)\|$", document.read_text(), re.MULTILINE)
    cells = [row.replace(r"\|", "/").split(" | ")[column] for row in rows]
    return [found for cell in cells for found in re.findall(r"`([^`]+)`", cell)]


def settings_table() -> list[tuple[str, str, str]]:
    """Variable, default and meaning of every setting, from `app/settings/sections.py`."""
    classes = {
        node.name: node
        for node in ast.parse((REPOSITORY / "backend/app/settings/sections.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    rows = []
    for section in Settings.sections().values():
        body = classes[section.__name__].body
        for field, docstring in itertools.pairwise(body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(docstring, ast.Expr)):
                continue
            variable, _, meaning = ast.literal_eval(docstring.value).partition(". ")
            rows.append((variable, _default(section, field), " ".join(meaning.split())))
    return rows


def _default(section: type, field: ast.AnnAssign) -> str:
    value = getattr(section(), ast.unparse(field.target))
    shown = value.reveal() if hasattr(value, "reveal") else str(value)
    return shown.replace(f"{REPOSITORY}/", "")
