"""The image and the compose file, as far as they can be checked without a container engine."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import REPOSITORY, Settings, load_settings
from saqueduct.embedded.redis import REWRITE_SIZE

COMPOSE = (REPOSITORY / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
DOCKERFILE = (REPOSITORY / "backend" / "Dockerfile").read_text()
OURS = ("migrate", "web", "worker")
STOCK = ("postgres", "redis")

SECRETS = {
    "POSTGRES_PASSWORD": "p" * 32,
    "SECRET_KEY": "s" * 32,
    "ADMIN_PASSWORD": "a",
    "SMTP_HOST": "mail",
    "WEB_ALLOWED_HOSTS": "jobs.example.com",
}
"""What a deployment has to name."""

DIGEST = "@sha256:[0-9a-f]{64}"

IMAGES = ("PYTHON_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE")


def image(name: str) -> str:
    """The image that the variable has by default."""
    [default] = re.findall(rf"\$\{{{name}:-(.*?)\}}", COMPOSE)
    return str(default)


def instructions(name: str) -> list[str]:
    """The arguments of each Dockerfile instruction `name`, continuation lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^\s*{name} (.*)$", joined, re.MULTILINE)


def limits(service: str) -> dict[str, Any]:
    result: dict[str, Any] = SERVICES[service]["deploy"]["resources"]["limits"]
    return result


def interpolated(environment: dict[str, str | None]) -> dict[str, str]:
    """What a container gets when only the secrets are set."""
    given = {name: value for name, value in environment.items() if value is not None}
    return {name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: SECRETS[m[1]], str(value)) for name, value in given.items()}


def test_every_copied_source_exists() -> None:
    for arguments in instructions("COPY"):
        if not arguments.startswith("--from="):
            source = shlex.split(arguments)[0]
            assert (REPOSITORY / source).exists(), source


def test_every_copied_source_is_let_through_by_dockerignore() -> None:
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    sources = {shlex.split(arguments)[0] for arguments in instructions("COPY") if "--from=" not in arguments}
    assert sources == let_through


def test_the_image_runs_as_an_unprivileged_user_from_pinned_bases() -> None:
    assert instructions("USER")[-1] == "10001:10001"
    assert instructions("ARG") == [f"PYTHON_IMAGE={image('PYTHON_IMAGE')}"]
    assert re.fullmatch(rf"python:3\.11\.\d+-slim-\w+{DIGEST}", image("PYTHON_IMAGE"))
    assert {base.split()[0] for base in instructions("FROM")} == {"${PYTHON_IMAGE}"}
    assert any("--require-hashes" in command for command in instructions("RUN"))


@pytest.mark.parametrize("service", OURS)
def test_commands_name_modules_that_exist(service: str) -> None:
    python, option, module = SERVICES[service]["command"][:3]
    assert (python, option) == ("python", "-m")
    assert importlib.util.find_spec(module)


def test_the_images_own_command_is_the_web_process() -> None:
    assert yaml.safe_load(instructions("CMD")[-1]) == SERVICES["web"]["command"]


@pytest.mark.parametrize("service", OURS)
def test_the_application_gets_every_setting_under_its_name(service: str) -> None:
    of_the_container = {"WEB_HOST", "WEB_PORT", "LOG_FORMAT", "DEV_DIR"}
    assert set(SERVICES[service]["environment"]) == set(Settings.variables()) - of_the_container


@pytest.mark.parametrize("service", OURS)
def test_the_environment_makes_valid_production_settings(service: str) -> None:
    settings = load_settings(interpolated(SERVICES[service]["environment"]))
    assert settings.production
    settings.require_servers()


def test_every_secret_has_to_be_given() -> None:
    assert set(re.findall(r"\$\{(\w+):\?", COMPOSE)) == set(SECRETS)
    with_default = set(re.findall(r"\$\{(\w+)(?!:\?)\b", COMPOSE)) - set(SECRETS)
    assert with_default == {"WEB_PORT", *IMAGES}


def test_every_image_is_pinned_by_digest_beside_its_exact_tag_and_can_be_another() -> None:
    for name in IMAGES:
        assert re.fullmatch(rf"\w+:\d+(\.\d+)+(-\w+)+{DIGEST}", image(name)), name
        assert name in (REPOSITORY / "docs" / "how-to" / "deploy.md").read_text()
    for service in STOCK:
        assert SERVICES[service]["image"].startswith(f"${{{service.upper()}_IMAGE:-")


@pytest.mark.parametrize("service", [*OURS, *STOCK])
def test_every_service_has_limits_and_a_restart_policy(service: str) -> None:
    assert {"cpus", "memory"} <= set(limits(service))
    assert SERVICES[service]["restart"] == ("no" if service == "migrate" else "unless-stopped")


@pytest.mark.parametrize("service", STOCK)
def test_the_servers_are_healthy_before_use_and_not_published(service: str) -> None:
    assert "test" in SERVICES[service]["healthcheck"]
    assert "ports" not in SERVICES[service]
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"][service]["condition"] == "service_healthy"


def test_only_this_host_reaches_the_web_process() -> None:
    assert SERVICES["web"]["ports"] == ["127.0.0.1:${WEB_PORT:-8000}:8000"]


def test_redis_loses_nothing() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_redis_is_set_up_as_the_embedded_one() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--auto-aof-rewrite-min-size") + 1] == REWRITE_SIZE
    assert command[command.index("--save") + 1] == ""


def test_the_worker_has_time_to_drain() -> None:
    seconds = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings().worker.grace_period + 10


def test_the_web_process_starts_on_a_migrated_database() -> None:
    assert SERVICES["web"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_every_volume_is_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(yaml.safe_load(COMPOSE)["volumes"])


def test_the_health_check_runs_python_that_compiles() -> None:
    [check] = re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    _, _, source = yaml.safe_load(check)
    compile(source, str(Path("healthcheck")), "exec")
