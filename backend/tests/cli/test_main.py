"""The command line as a whole: its exit statuses, its output, and that its page is complete."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import click
import pytest
from click.testing import CliRunner

from app.settings import Settings
from saqueduct.cli.groups import ALONE, WITHIN, main
from saqueduct.cli.later import Later
from saqueduct.cli.main import run as entry_point
from tests.chaos.proxy import Network
from tests.cli.conftest import APP, Cli, Record
from tests.docs.reading import DOCUMENTS, REPOSITORY
from tests.docs.test_commands import shell_lines
from tests.fixtures import python
from tests.fixtures.ports import free_port
from tests.processes.stack import BACKEND

PAGE = REPOSITORY / "docs/reference/cli.md"


LOADED = {str(each.name): each.load() for each in ALONE}


def commands() -> Iterator[tuple[str, click.Command]]:
    for noun, group in LOADED.items():
        if isinstance(group, click.Group):
            for verb, command in group.commands.items():
                yield f"{noun} {verb}", command
        # See `test_dev.py`.
        elif noun != "dev":
            yield noun, group


COMMANDS = dict(commands())

WITHOUT_JSON = {"workers run"}
"""It prints a log."""

SHARED = re.compile(r"^## ([\w-]+)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
"""The sections of options that several commands have."""


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return python.run(["-m", "saqueduct.cli", "--app", APP, *arguments], cwd=BACKEND, env=environment)


def test_it_tells_its_version() -> None:
    declared = tomllib.loads((BACKEND / "pyproject.toml").read_text())["project"]["version"]
    assert run("--version").stdout == f"saqueduct, version {declared}\n"


def test_litestars_command_line_finds_the_application(environment: dict[str, str]) -> None:
    shown = python.run(["-m", "litestar", "info"], cwd=BACKEND, env=environment)
    assert (shown.returncode, "Enabled path=/schema" in shown.stdout) == (0, True), shown.stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["jbos", "list"], "there is no command 'jbos': did you mean 'jobs'?"),
        (["queues", "list"], "there is no command 'list': there are stats"),
    ],
)
def test_an_unknown_command_is_answered_with_those_there_are(typed: list[str], words: str) -> None:
    answer = CliRunner().invoke(main, typed)
    assert (answer.exit_code, words in answer.output) == (2, True), answer.output


def test_these_commands_are_there() -> None:
    assert {noun: set(group.commands) for noun, group in LOADED.items() if isinstance(group, click.Group)} == {
        "jobs": {"list", "show", "retry", "abort"},
        "dead": {"list", "show", "replay", "discard"},
        "tasks": {"list", "enqueue"},
        "schedules": {"list", "trigger", "pause", "resume"},
        "limits": {"list", "set", "reset"},
        "queues": {"stats", "pause", "resume", "drain"},
        "workers": {"list", "pause", "resume", "run"},
        "audit": {"list"},
    }


def test_the_page_lists_exactly_the_commands_and_their_options() -> None:
    shared, *sections = re.split(r"^### `", PAGE.read_text(), flags=re.MULTILINE)
    groups = {title.lower(): set(re.findall(r"`(--[a-z-]+)", text)) for title, text in SHARED.findall(shared)}
    listed = {section.partition("`")[0]: section for section in sections}
    assert listed.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        written = set(re.findall(r"`(--[a-z-]+)", listed[name])) | (set() if name in WITHOUT_JSON else {"--json"})
        written = written.union(*(groups[group] for group in re.findall(r"\(#([a-z-]+)\)", listed[name])))
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert written == own, name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_help(name: str) -> None:
    command = COMMANDS[name]
    assert ("as_json" in {parameter.name for parameter in command.params}) == (name not in WITHOUT_JSON)
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("command", [*ALONE, *WITHIN], ids=lambda command: command.name)
def test_a_command_is_listed_as_it_describes_itself(command: Later) -> None:
    loaded = command.load()
    assert (command.name, command.get_short_help_str(limit=1000)) == (
        loaded.name,
        loaded.get_short_help_str(limit=1000),
    )


def test_the_help_page_and_completion_load_no_queues() -> None:
    for environment in ({}, completing("que")):
        answer = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "saqueduct.cli", "--help"],
            env={**os.environ, **environment},
            cwd=BACKEND,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "queues" in answer.stdout
        imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
        assert imported & {"litestar", "redis", "rich.console", "saq", "sqlalchemy"} == set()


@pytest.mark.parametrize("arguments", [(), *((noun,) for noun in LOADED)], ids=lambda words: " ".join(words))
def test_help_cuts_no_sentence(arguments: tuple[str, ...]) -> None:
    shown = run(*arguments, "--help").stdout
    assert "..." not in shown.partition("\nCommands:")[2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [(["que"], {"queues"}), (["queues", "dr"], {"drain"}), (["jobs", "list", "--sta"], {"--status"})],
)
def test_a_shell_completes_what_is_typed(typed: list[str], offered: set[str]) -> None:
    answer = run(**completing(*typed))
    assert {line.partition(",")[2] for line in answer.stdout.splitlines()} == offered, answer.stderr


def test_a_shell_in_the_checkout_completes_without_servers() -> None:
    answer = subprocess.run(
        [REPOSITORY / "saqueduct"],
        env={**os.environ, **completing("que")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.stdout == "plain,queues\n", answer.stderr


def completing(*typed: str) -> dict[str, str]:
    """What a shell sets to ask how the last of these words goes on."""
    words = {"COMP_WORDS": " ".join(["saqueduct", *typed]), "COMP_CWORD": str(len(typed))}
    return {"_SAQUEDUCT_COMPLETE": "bash_complete", **words}


def test_an_installation_has_the_command() -> None:
    scripts = tomllib.loads((BACKEND / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["saqueduct"].partition(":")
    assert getattr(importlib.import_module(module), function) is entry_point


def typed_commands() -> list[str]:
    """Every command of the command line in a shell block of the documents."""
    return [line for document in DOCUMENTS for line in shell_lines(document) if line.startswith("./saqueduct ")]


@pytest.mark.parametrize("line", typed_commands())
def test_commands_in_the_documents_can_be_typed(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    count = 1 if words[0] in COMMANDS else 2
    COMMANDS[" ".join(words[:count])].make_context(words[count - 1], words[count:])


def test_a_real_process_prints_only_json(environment: dict[str, str]) -> None:
    answer = run("queues", "stats", "--json", **environment)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [queue["name"] for queue in json.loads(answer.stdout)["queues"]] == ["default"]


def test_the_whole_application_serves_as_well(environment: dict[str, str]) -> None:
    answer = run("--app", "app.main:create_app", "queues", "stats", "--json", **environment)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [queue["name"] for queue in json.loads(answer.stdout)["queues"]] == ["default"]


def test_without_servers_it_says_what_to_set(environment: dict[str, str]) -> None:
    servers = {"REDIS_URL": "", "DATABASE_URL": "", "ENVIRONMENT": "production"}
    answer = run("jobs", "list", **{**environment, **servers})
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "production needs REDIS_URL" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_servers_the_tasks_can_be_listed() -> None:
    answer = run("tasks", "list")
    assert answer.returncode == 0, answer.stderr
    assert "send_email" in answer.stdout


AWAY = r"PostgreSQL cannot be reached: .*; check the server at {at} and DATABASE_URL \(database_url\)"


@pytest.mark.parametrize(
    ("away", "arguments", "words"),
    [
        (
            "REDIS_URL=redis://me:secret@127.0.0.1:{port}",
            "queues stats",
            r"the job queue cannot be reached: .*; check that Redis at 127\.0\.0\.1:\d+ is running",
        ),
        ("REDIS_URL=redis://127.0.0.1:{port}", "tasks enqueue ping", "the job queue cannot be reached: "),
        (
            "DATABASE_URL=postgresql://127.0.0.1:{port}/x",
            "jobs abort nothing",
            r"check that PostgreSQL at 127\.0\.0\.1:\d+ is running, and DATABASE_URL",
        ),
        ("DATABASE_URL=postgresql://me:secret@127.0.0.1:{port}/x", "dead list", AWAY.format(at=r"127\.0\.0\.1:\d+")),
        ("DATABASE_URL=postgresql:///x?host=/nowhere", "dead list", AWAY.format(at="/nowhere")),
    ],
)
def test_a_server_that_is_away_is_reported_in_one_line(
    environment: dict[str, str], away: str, arguments: str, words: str
) -> None:
    name, _, url = away.partition("=")
    answer = run(*arguments.split(), **{**environment, name: url.format(port=free_port())})
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(f"error: .*{words}.*\n", answer.stderr), answer.stderr
    assert "secret" not in answer.stderr


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout, tempfile.TemporaryFile() as stderr:
        command = ["-m", "saqueduct.cli", "--app", APP, "tasks", "list", "--json"]
        python.Python(command, cwd=BACKEND, stdout=stdout, stderr=stderr).wait()
        stderr.seek(0)
        assert stderr.read() == b""


async def test_a_redis_that_does_not_answer_is_reported_after_the_time_of_one_answer(
    settings: Settings, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = settings.redis.url.reveal()
    network = Network(unquote(urlsplit(url).path))
    network.silent = True
    with network:
        monkeypatch.setenv("REDIS_URL", f"redis://:secret@127.0.0.1:{network.port}/0")
        for command in (["queues", "stats"], ["workers", "list"]):
            _, error = await cli(*command, status=1)
            assert f"no answer within 5 s; check that Redis at 127.0.0.1:{network.port} is running" in error
            assert "secret" not in error


async def test_dead_letters_need_no_redis(cli: Cli, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    await record("one")
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    shown, _ = await cli("dead", "list")
    assert "one" in shown


async def test_a_database_without_tables_is_reported(
    cli: Cli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server's own database, which nobody has migrated.
    url = urlsplit(environment["DATABASE_URL"])
    monkeypatch.setenv("DATABASE_URL", url._replace(path="/postgres").geturl())
    _, stderr = await cli("dead", "list", status=2)
    tables = "outbox, job_records, job_audit, job_audit_batches, job_history"
    assert stderr.startswith(f"error: the database lacks Saqueduct's tables ({tables}): make them with ")
