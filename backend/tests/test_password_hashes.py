"""Hashes of passwords and tokens, and the credentials that settings hold."""

import json

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner

from saqueduct import ConfigurationError, SaqueductConfig
from saqueduct.cli.groups import main
from saqueduct.common.credentials import Credential, parse_credentials
from saqueduct.common.password_hash import hash_password, hash_problem, hash_token, matches

PASSWORD = "correct horse battery staple"
QUICK = hash_password(PASSWORD, log_n=4)


def test_only_the_password_matches_its_hash() -> None:
    assert matches(PASSWORD, QUICK)
    assert not matches(PASSWORD + " ", QUICK)
    assert not matches("", QUICK)
    assert not matches(PASSWORD, hash_token(PASSWORD))
    assert hash_password(PASSWORD, log_n=4) != QUICK


def test_hashes_by_argon2_are_taken_too() -> None:
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    assert hash_problem(hashed) == ""
    assert matches(PASSWORD, hashed)
    assert not matches("wrong", hashed)
    assert not matches(PASSWORD, "$argon2id$broken")


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        PASSWORD,
        "sha256.short",
        "scrypt.15.8.3.c2FsdA",
        "scrypt.15.8.3.c2FsdA.c2hvcnQ",
        "scrypt.40.8.3.c2FsdHNhbHRzYWx0c2FsdA.c2FsdHNhbHRzYWx0c2FsdA",
        "scrypt.22.8.1.c2FsdHNhbHRzYWx0c2FsdA.c2FsdHNhbHRzYWx0c2FsdA",
        "scrypt.-1.8.1.c2FsdHNhbHRzYWx0c2FsdA.c2FsdHNhbHRzYWx0c2FsdA",
        "scrypt.4.8.1.????.c2FsdHNhbHRzYWx0c2FsdA",
    ],
)
def test_what_is_no_hash_is_refused_without_being_shown(hashed: str) -> None:
    assert "saqueduct hash-password" in hash_problem(hashed)
    assert not matches(PASSWORD, hashed)
    with pytest.raises(ConfigurationError, match="ADMIN_CREDENTIALS") as caught:
        SaqueductConfig(redis_url="redis://x", credentials=f"maria:admin:{hashed}")
    assert hashed == "" or hashed not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("maria", "must be name:role:hash"),
        (f"maria:boss:{QUICK}", "'boss' is no role"),
        (f":viewer:{QUICK}", "a person's name has"),
        (f"maria:viewer:{QUICK} maria:admin:{hash_token('x')}", "has two roles"),
        (f"maria:viewer:{QUICK} maria:viewer:{QUICK}", "has two passwords"),
    ],
    ids=range(5),
)
def test_credentials_that_contradict_each_other_are_refused(given: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_credentials(given)


def test_a_word_that_may_be_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="must be name:role:hash") as caught:
        parse_credentials(f"maria:viewer:{QUICK} {PASSWORD.split()[0]}")
    assert PASSWORD.split()[0] not in str(caught.value)


def test_a_person_may_have_a_password_and_a_token() -> None:
    found = parse_credentials(f"maria:viewer:{QUICK}\n maria:viewer:{hash_token('x')}")
    assert [(each.name, each.is_token) for each in found] == [("maria", False), ("maria", True)]
    assert QUICK not in repr(found)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"proxy_user_header": "X-User"}, "needs trusted_proxies"),
        ({"proxy_role_header": "X-Role"}, "needs proxy_user_header"),
        ({"trusted_proxies": ["nowhere"]}, "is not an address"),
        ({"identify": lambda _: None, "guards": [lambda *_: None]}, "contradicts"),
        ({"identify": "name"}, "must be a function"),
        ({"credentials": f"root:viewer:{QUICK}", "admin_username": "root", "admin_token": "x"}, "choose another name"),
    ],
    ids=range(6),
)
def test_settings_that_would_let_anyone_in_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        SaqueductConfig(redis_url="redis://x", **fields)  # type: ignore[arg-type]


def test_the_command_makes_credentials_of_a_password_from_stdin() -> None:
    result = CliRunner().invoke(main, ["hash-password", "maria", "--role", "operator"], input=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    made = Credential.parse(result.stdout.strip())
    assert (made.name, made.role) == ("maria", "operator")
    assert made.hash.startswith("scrypt.15.8.3.")
    assert matches(PASSWORD, made.hash)


def test_the_command_makes_a_random_token_and_its_hash() -> None:
    result = CliRunner().invoke(main, ["hash-password", "robot", "--token"])
    token = result.stderr.strip().rpartition(" ")[2]
    assert Credential.parse(result.stdout.strip()).hash == hash_token(token)
    assert len(token) > 40
    as_json = json.loads(CliRunner().invoke(main, ["hash-password", "robot", "--token", "--json"]).stdout)
    assert Credential.parse(as_json["credential"]).hash == hash_token(as_json["token"])


def test_the_command_refuses_short_passwords_and_wrong_names() -> None:
    short = CliRunner().invoke(main, ["hash-password", "maria"], input="short\n")
    assert (short.exit_code, "12 characters" in short.stderr) == (2, True)
    colon = CliRunner().invoke(main, ["hash-password", "a:b", "--token"])
    assert (colon.exit_code, "no colon" in colon.stderr) == (2, True)
