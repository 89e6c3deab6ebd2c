"""Reads the settings: from the environment of the process first, then from a `.env` file."""

import difflib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from dotenv.parser import parse_stream

from app.settings.checks import problems_of
from app.settings.sections import REPOSITORY, Section, Settings, SettingsError, types_of
from saqueduct.logs import printable
from saqueduct.secrets import Secret

LONGEST_SHOWN = 100
"""Characters of a wrong value in its message."""


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Read, validate and freeze the settings.

    Args:
        environ: the environment; the process's own by default.
        env_file: a `.env` file that fills what the environment leaves out; the one at the top of the
            repository by default, and none when `environ` is given.

    Raises:
        SettingsError: a value is invalid, `.env` names an unknown variable, or production lacks a secret.
    """
    if environ is None:
        environ = os.environ
        env_file = env_file or REPOSITORY / ".env"
    values, problems = _read_env_file(env_file)
    known = Settings.variables()
    problems += [_unknown(name, known) for name in values if name not in known]
    values.update({name: environ[name] for name in known if name in environ})
    for name in [name for name, value in values.items() if printable(value, newlines=True) != value]:
        del values[name]
        problems.append(f"{name}: contains control characters, or bytes that are not UTF-8: leave them out")
    sections: dict[str, Any] = {}
    for field, section in Settings.sections().items():
        given = {name: values[variable] for variable, name in section.variables().items() if variable in values}
        sections[field] = _convert(section, given, problems)
    if problems:
        raise SettingsError(problems)
    settings = Settings(**sections)
    if problems := problems_of(settings):
        raise SettingsError(problems)
    return settings


def _read_env_file(path: Path | None) -> tuple[dict[str, str], list[str]]:
    """The values of a file, and the problems with its lines, which may hold secrets and are not shown."""
    values: dict[str, str] = {}
    problems: list[str] = []
    if path is None or not path.is_file():
        return values, problems
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return values, [".env is not UTF-8: save it in that encoding"]
    for line in parse_stream(io.StringIO(text)):
        if line.key is not None and line.value is not None:
            values[line.key] = line.value
        elif line.error or line.key is not None:
            problems.append(
                f".env, line {line.original.line}: write it as NAME=value, or begin it with # to leave it out"
            )
    return values, problems


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f".env: {name} is not a setting" + (f"; did you mean {near[0]}?" if near else "; see .env.example")


def _convert(section: type[Section], given: dict[str, str], problems: list[str]) -> Section:
    """Convert the fields one by one, so that every invalid variable is reported."""
    converted: dict[str, Any] = {}
    for name, type_ in types_of(section).items():
        if name not in given:
            continue
        try:
            converted[name] = msgspec.convert(given[name], type_, strict=False, dec_hook=Secret.decode)
        except msgspec.ValidationError as error:
            variable = section.prefix + name.upper()
            shown = "" if type_ is Secret else f" (it is {_shortened(given[name])})"
            problems.append(f"{variable}: {_reason(type_, str(error))}{shown}")
    return section(**converted)


def _shortened(value: str) -> str:
    return repr(value) if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]!r}..."


def _reason(type_: Any, error: str) -> str:
    if get_origin(type_) is Literal:
        return f"must be {' or '.join(get_args(type_))}"
    return f"{error[0].lower()}{error[1:]}"
