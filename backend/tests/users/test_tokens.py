"""Keys and tokens without HTTP."""

import datetime as dt
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.settings import AppSettings, Settings
from app.users.errors import InvalidAccessToken
from app.users.schemas import Login, Refresh, Registration, TokenPair
from app.users.tokens import AccessClaims, AccessTokens, new_refresh_token, signing_key
from saqueduct.common.data_directory import development_key
from saqueduct.common.secret import Secret

KEY = Secret("tests only, no secret, but long enough")
CLAIMS = AccessClaims(7, uuid.uuid4())
LIFETIME = dt.timedelta(minutes=15)


def test_an_access_token_says_whose_it_is() -> None:
    tokens = AccessTokens(KEY, LIFETIME)
    assert tokens.read(tokens.issue(CLAIMS)) == CLAIMS


@pytest.mark.parametrize(("age", "valid"), [(LIFETIME - dt.timedelta(seconds=5), True), (LIFETIME, False)])
def test_an_access_token_expires(age: dt.timedelta, valid: bool) -> None:
    token = AccessTokens(KEY, LIFETIME, now=lambda: dt.datetime.now(dt.UTC) - age).issue(CLAIMS)
    if valid:
        assert AccessTokens(KEY, LIFETIME).read(token) == CLAIMS
    else:
        with pytest.raises(InvalidAccessToken):
            AccessTokens(KEY, LIFETIME).read(token)


def test_refresh_tokens_differ_and_hold_256_bits() -> None:
    tokens = {new_refresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}


def test_the_secret_key_signs(tmp_path: Path) -> None:
    settings = Settings(app=AppSettings(secret_key=KEY, dev_dir=str(tmp_path)))
    assert signing_key(settings) is KEY
    assert list(tmp_path.iterdir()) == []


def test_without_a_secret_key_development_keeps_one_for_the_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    settings = Settings(app=AppSettings(dev_dir=str(directory)))
    key = signing_key(settings).reveal()
    assert len(key) == 64
    assert signing_key(settings).reveal() == key
    assert stat.S_IMODE((directory / "secret_key").stat().st_mode) == 0o600
    # The folder stays out of Git.
    assert (directory / ".gitignore").read_text() == "*\n"


def test_processes_that_start_at_once_agree_on_the_development_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {key.reveal() for key in pool.map(development_key, [tmp_path] * 32)}
    assert len(keys) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "struct",
    [
        Registration(email="ada@example.com", password="hunter2"),
        Login(email="ada@example.com", password="hunter2"),
        Refresh(refresh_token="hunter2"),
        TokenPair(access_token="hunter2", refresh_token="hunter2", expires_in=1),
        AccessTokens(Secret("hunter2"), LIFETIME),
    ],
    ids=lambda struct: type(struct).__name__,
)
def test_secrets_do_not_show(struct: object) -> None:
    assert "hunter2" not in f"{struct!r} {struct} {vars(struct) if hasattr(struct, '__dict__') else ''}"
