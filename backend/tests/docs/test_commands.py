"""What a reader would type: curl calls, variables, paths of the map and of commands."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.settings import Settings
from saqueduct import get_registry
from tests.docs.reading import DOCUMENTS, REPOSITORY, name
from tests.fixtures.application import application

WRITTEN_BY_THE_READER = {"greet", "cleanup_old_sessions"}
"""Tasks that README and tutorial have the reader write."""

OF_THE_TOOLS = {"ARGS", "PYTHON", "SAQUEDUCT_APP", "LITESTAR_APP"}
"""Variables of the Makefile and of the command line."""


def shell_lines(document: Path) -> list[str]:
    """The lines of all shell blocks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def curl_call(line: str) -> tuple[str, str]:
    """Method and path of a curl command."""
    words = shlex.split(line, comments=True)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    [url] = [word for word in words if word.startswith("http")]
    return method, urlsplit(url).path


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_curl_calls_have_a_route(document: Path, settings: Settings) -> None:
    calls = [line for line in shell_lines(document) if line.startswith("curl ")]
    paths = application(settings).openapi_schema.to_schema()["paths"] if calls else {}
    for line in calls:
        method, path = curl_call(line)
        matching = [paths[each] for each in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)]
        assert any(method.lower() in item for item in matching), line
        if path.startswith("/tasks/"):
            task = path.removeprefix("/tasks/")
            assert task in get_registry() or task in WRITTEN_BY_THE_READER, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_variables_in_commands_are_settings(document: Path) -> None:
    text = document.read_text()
    commands = [*shell_lines(document), *re.findall(r"`([^`\n]+)`", text)]
    named = {
        variable
        for command in commands
        for variable in [*re.findall(r"\$([A-Z][A-Z_]+)", command), *re.findall(r"\b([A-Z][A-Z_]+)=", command)]
    }
    assert named <= set(Settings.variables()) | OF_THE_TOOLS


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_that_commands_name_exist(document: Path) -> None:
    commands = [*shell_lines(document), *re.findall(r"`([^`\n]+)`", document.read_text())]
    named = {word for command in commands for word in re.findall(r"(?<![\w./])(?:docs|backend)/[\w./-]+\.\w+", command)}
    written = ("backend/app/greetings/", "backend/tests/sessions/")
    assert [path for path in named if not path.startswith(written) and not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_at_the_top_exist(document: Path) -> None:
    named = re.findall(r"`(Makefile|docker-compose[\w.-]*|\.env[\w.-]*|[A-Z_]{4,}\.md)`", document.read_text())
    assert [path for path in named if path != ".env" and not (REPOSITORY / path).exists()] == []


def test_the_map_of_the_readme_is_the_tree() -> None:
    [tree] = re.findall(r"^```text\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    folder = ""
    listed = []
    for line in tree.splitlines():
        names = re.split(r" {2,}", line.strip())[0].split()
        folder = folder if line.startswith(" ") else ""
        listed += [folder + each for each in names]
        folder = folder if line.startswith(" ") else names[0]
    assert "backend/app/queue/" in listed
    assert [path for path in listed if not (REPOSITORY / path).exists()] == []
