"""What the documents name exists."""

import dataclasses
import re
from pathlib import Path

import httpx
import pytest

import saqueduct
from app.settings import Settings
from saqueduct import CallOptions, JobHandle, Schedule, TaskOptions, errors
from tests.docs.reading import DOCUMENTS, REPOSITORY, make_targets, name, settings_table, table_column

OTHER_VARIABLES = {
    "ALERT_MAIL_FROM",
    "ALERT_SMTP_URL",
    "LITESTAR_APP",
    "SAQUEDUCT_APP",
    "SAQUEDUCT_DIR",
    "PYTHON_IMAGE",
    "POSTGRES_IMAGE",
    "REDIS_IMAGE",
    "ARGS",
    "PYTHON",
    "CI",
    "NO_COLOR",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "STARTUP",
}
"""Names in capitals with an underscore, or known ones without, that are no settings."""

PLACEHOLDERS = ("<domain>", "{", "*", "greetings", "app/sessions", "tests/sessions")
"""Paths that the reader makes."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text())
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (document.parent / link).exists()]
    assert missing == []


def test_the_readme_shows_the_smallest_example() -> None:
    example = (REPOSITORY / "backend/examples/minimal.py").read_text()
    for readme in (REPOSITORY / "README.md", REPOSITORY / "backend/README.md"):
        assert example in readme.read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_exist(document: Path) -> None:
    named = re.findall(r"`((?:backend|docs|\.ci|\.env)[\w./<>-]*)`", document.read_text())
    paths = [path for path in named if path != ".env" and not any(part in path for part in PLACEHOLDERS)]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make_targets_exist(document: Path) -> None:
    text = document.read_text()
    in_backticks = re.findall(r"`(?:\w+=\S+ )*make ([a-z-]+)", text)
    in_blocks = re.findall(r"^(?:\w+=\S+ )*make ([a-z-]+)", text, re.MULTILINE)
    assert {target for target in [*in_backticks, *in_blocks] if target not in make_targets()} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_variables_are_settings(document: Path) -> None:
    known = set(Settings.variables()) | OTHER_VARIABLES
    # Those of OpenTelemetry's SDK, which reads them itself.
    known |= set(re.findall(r"`(OTEL_[A-Z_]+)`", document.read_text()))
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", document.read_text()))
    constants = {"MAX_RECOVERIES", "DOMAIN_PROVIDERS", "DOMAIN_ROUTES"}
    assert named - known - constants == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_modules_that_commands_run_exist(document: Path) -> None:
    modules = re.findall(r"-m (app[\w.]*)", document.read_text())
    for module in modules:
        path = REPOSITORY / "backend" / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_page_of_make_lists_exactly_the_targets() -> None:
    listed = table_column(REPOSITORY / "docs/reference/make.md")
    assert sorted(target.removeprefix("make ") for target in listed) == sorted(make_targets())


def test_the_page_of_settings_is_what_the_code_says() -> None:
    text = (REPOSITORY / "docs/reference/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    expected = [
        (variable, f"`{default}`" if default else "empty", meaning) for variable, default, meaning in settings_table()
    ]
    assert rows == expected
    assert [row[0] for row in rows] == Settings.variables()


def test_the_page_of_decorators_lists_exactly_the_options() -> None:
    options = {field.name for kind in (TaskOptions, Schedule) for field in dataclasses.fields(kind)} | {"name"}
    listed = table_column(REPOSITORY / "docs/reference/decorators.md")
    assert sorted(listed) == sorted(options)


def test_the_page_of_decorators_tells_the_defaults() -> None:
    text = (REPOSITORY / "docs/reference/decorators.md").read_text()
    for field in dataclasses.fields(TaskOptions):
        shown = repr(field.default).replace("'", '"')
        assert re.search(rf"^\| `{field.name}` .* \| `{re.escape(shown)}` \|$", text, re.MULTILINE), field.name


def test_the_page_of_the_api_has_every_public_name() -> None:
    text = (REPOSITORY / "docs/reference/api.md").read_text()
    shown = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
    # The last section is the module of all errors.
    assert "errors" in shown
    assert set(saqueduct.__all__) - shown - set(vars(errors)) <= {"Context", "FromDishka"}


def test_the_application_uses_no_module_of_the_library_but_those_that_the_page_lists() -> None:
    text = (REPOSITORY / "docs/reference/api.md").read_text()
    rows = re.findall(r"^\| (`saqueduct\..*?) \|(.*)", text, re.MULTILINE)
    listed = {module for modules, _ in rows for module in re.findall(r"`([\w.]+)`", modules)}
    [postgres] = [rest for modules, rest in rows if modules == "`saqueduct.postgres`"]
    listed = listed - {"saqueduct.postgres"} | {
        f"saqueduct.postgres.{each}" for each in re.findall(r"`(\w+)`", postgres)
    }
    app = REPOSITORY / "backend/app"
    used = {
        module
        for path in app.rglob("*.py")
        if app / "dev/demo" not in path.parents
        for module in re.findall(r"^\s*(?:from|import) (saqueduct\.[\w.]+)", path.read_text(), re.MULTILINE)
    }
    assert [each for each in sorted(used) if not any(f"{each}.".startswith(f"{module}.") for module in listed)] == []


async def test_the_page_of_http_lists_exactly_the_routes(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    # The paths of single tasks are those of `/tasks/{name}`.
    paths = {path: item for path, item in document["paths"].items() if not re.match(r"/tasks/[^{]", path)}
    routes = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    listed = table_column(REPOSITORY / "docs/reference/http.md")
    assert sorted(each for each in listed if re.match(r"(GET|POST|PUT|PATCH|DELETE) /", each)) == sorted(routes)


def test_the_short_guide_is_short() -> None:
    assert len((REPOSITORY / "CLAUDE.md").read_text().splitlines()) < 120


def test_no_document_names_a_folder_of_a_machine() -> None:
    for document in DOCUMENTS:
        assert not re.search(r"(?<![\w.])/(?:root|work|home)/", document.read_text()), name(document)


def test_the_page_of_calls_lists_the_options_and_the_handle() -> None:
    text = (REPOSITORY / "docs/reference/calls.md").read_text()
    options = table_column(REPOSITORY / "docs/reference/calls.md")
    assert {field.name for field in dataclasses.fields(CallOptions)} - set(options) == set()
    # `of` is for the library: it makes a handle of an enqueue's answer.
    members = {name for name in vars(JobHandle) if not name.startswith("_")} - {"job", "of"}
    assert {name for name in members if f"job.{name}" not in text} == set()
    assert {found for found in re.findall(r"`.*?\bjob\.(\w+)", text) if not hasattr(JobHandle, found)} <= {
        "key",
        "created",
    }
