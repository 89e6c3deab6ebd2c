"""`hash-password`: make credentials for the settings."""

import sys

import click

from saqueduct.cli import options, output
from saqueduct.common.credentials import Credential
from saqueduct.common.password_hash import hash_password as hash_of
from saqueduct.common.password_hash import new_token
from saqueduct.common.people import Role

SHORTEST = 12
"""Characters of a password, at least."""


@click.command("hash-password")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default="viewer",
    show_default=True,
    help="What it may do.",
)
@click.option("--token", is_flag=True, help="Make a random bearer token instead, for a program.")
@options.as_json
def hash_password(*, name: str, role: str, token: bool, as_json: bool) -> None:
    """Make the credentials of a person for ADMIN_CREDENTIALS, from a password that is asked for, or read from stdin."""
    secret, hashed = new_token() if token else ("", hash_of(_password()))
    try:
        credential = Credential(name=name, role=Role(role), hash=hashed)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    entry = f"{credential.name}:{credential.role}:{credential.hash}"
    if as_json:
        output.emit({"credential": entry, "token": secret or None})
        return
    if token:
        click.echo(f"the token, which is shown only now: {secret}", err=True)
    # Not through rich, which wraps lines.
    click.echo(entry)


def _password() -> str:
    if sys.stdin.isatty():
        given: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if len(given) < SHORTEST:
        raise click.UsageError(f"the password must have {SHORTEST} characters or more")
    return given
