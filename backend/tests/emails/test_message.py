"""Mails as they are written."""

import email.policy
from email import message_from_bytes
from typing import Any

import pytest

from app.emails.errors import InvalidMail
from app.emails.message import compose, valid_address
from tests.emails.mails import MAIL

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("to", "ada"),
        ("to", "ada@"),
        ("to", "a@example.com, b@example.com"),
        ("to", "a@example.com\r\nBcc: b@example.com"),
        ("to", ""),
        ("to", "=?utf-8?q?a=0D=0ABcc=3A_evil?=@example.com"),
        ("subject", "Hi\r\nBcc: b@example.com"),
        ("subject", "Hi\nthere"),
        ("subject", "Hi\u2028there"),
        ("subject", "Hi\x1b[31m"),
        ("subject", "Hi\ud800"),
        ("subject", "=?utf-8?q?a=0D=0ABcc:_evil@example.com?="),
        ("subject", "Hi =?UTF-8?B?DQpCY2M6IHhAZXhhbXBsZS5jb20NCg==?= there"),
        ("subject", ""),
        ("subject", "x" * 201),
        ("body", "x" * 200_001),
        ("body", "a\0b"),
        ("body", "a\ud800b"),
    ],
)
def test_a_mail_that_cannot_be_written_names_the_part(part: str, value: str) -> None:
    with pytest.raises(InvalidMail, match=f"^{part}: "):
        compose(sender="Name <a@example.com>", **(MAIL | {part: value}))


def test_the_message_id_follows_the_key() -> None:
    def message_id(key: str | None) -> Any:
        return compose(sender="a@example.com", **MAIL, key=key)["Message-ID"]

    assert message_id("k") == message_id("k")
    assert message_id("k") != message_id("l")
    assert message_id(None) != message_id(None)
    assert str(message_id("k\r\nBcc: x")).endswith("@example.com>")


@pytest.mark.parametrize("subject", ["Hi", "Grüße " * 30, "x" * 200, "a: b", "two  blanks", "?=", "= ?utf-8?q?x?="])
def test_a_subject_arrives_as_it_is_and_adds_no_header(subject: str) -> None:
    content = bytes(compose(sender="Name <a@example.com>", **(MAIL | {"subject": subject})))
    assert content.isascii()
    read = message_from_bytes(content, policy=email.policy.default)
    assert read.keys() == HEADERS
    assert read["Subject"] == subject


@pytest.mark.parametrize("body", ["Hi", "Grüße", "ü" * 5000, "x" * 5000, "a\rb\r\nc\nd", "From me\n.\n..\n"])
def test_a_body_arrives_in_seven_bits(body: str) -> None:
    content = bytes(compose(sender="a@example.com", **(MAIL | {"body": body})))
    assert content.isascii()
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
    read = message_from_bytes(content, policy=email.policy.default)
    assert read.get_content().splitlines() == body.splitlines()


def test_an_address_gets_its_normal_spelling() -> None:
    assert valid_address("Ada@Bücher.EXAMPLE") == "Ada@xn--bcher-kva.example"


def test_a_huge_address_is_not_repeated_in_the_answer() -> None:
    with pytest.raises(InvalidMail, match="more than 254 characters") as caught:
        valid_address("a" * 1_000_000)
    assert len(caught.value.detail) < 1000
