"""Passwords: hash, verify, and where that runs."""

import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher

from app.users.passwords import Passwords
from tests.fixtures.application import QUICK_HASHER as CHEAP


@pytest.fixture
async def passwords() -> Passwords:
    return await Passwords.create(CHEAP)


async def test_the_password_and_no_other_matches(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("Correct horse", hashed)
    assert not await passwords.verify("", hashed)


async def test_two_hashes_of_a_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_composed_and_decomposed_characters_are_one(passwords: Passwords) -> None:
    assert await passwords.verify("caf\u0065\u0301 battery", await passwords.hash("caf\u00e9 battery"))


async def test_nothing_matches_where_there_is_no_user() -> None:
    dummy = CHEAP.hash("the dummy itself")
    assert not await Passwords(CHEAP, dummy).verify("the dummy itself", None)


async def test_the_dummy_has_the_hashers_parameters() -> None:
    passwords = await Passwords.create(CHEAP)
    assert not CHEAP.check_needs_rehash(passwords._dummy_hash)


async def test_no_hash_is_no_match(passwords: Passwords) -> None:
    for damaged in ("x", "$argon2id$v=19$m=8192,t=1,p=1$AAAA", "$2b$12$abc"):
        assert not await passwords.verify("correct horse", damaged)


async def test_hashes_of_other_parameters_are_outdated(passwords: Passwords) -> None:
    assert not passwords.is_outdated(CHEAP.hash("correct horse"))
    assert passwords.is_outdated(PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1).hash("correct horse"))


async def test_hashing_leaves_the_event_loop_free() -> None:
    threads: list[threading.Thread] = []

    class Spy(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            threads.append(threading.current_thread())
            return super().hash(password, salt=salt)

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002  (argon2's own name)
            threads.append(threading.current_thread())
            return super().verify(hash, password)

    passwords = await Passwords.create(Spy(time_cost=1, memory_cost=8192, parallelism=1))
    await passwords.verify("x", await passwords.hash("x"))
    assert len(threads) == 3
    assert threading.main_thread() not in threads


async def test_hashes_have_the_parameters_of_the_library() -> None:
    assert not PasswordHasher().check_needs_rehash(await (await Passwords.create()).hash("correct horse"))
