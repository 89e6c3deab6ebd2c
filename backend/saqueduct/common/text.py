"""Escapes text of users and errors, so that Redis, PostgreSQL, HTTP and a terminal all accept it.

Invalid text in data is refused (see `encoding.py`). Text that only describes something, such as an error, the reason
of an abort or a note, is escaped: it must not make the job fail.
"""

import re
import traceback
from typing import Any

LONGEST_ERROR = 256 * 1024
"""Maximum characters of a job's error; a longer one could make the job larger than Redis accepts."""

LONGEST_REMARK = 500
"""Characters of a reason, or of the name of a person, as callers give it; 2,000 bytes at most."""

LONGEST_KEY = 512
"""Maximum characters of a job's key, up to four bytes each: an index entry of PostgreSQL has at most 2,704 bytes,
including the queue's name."""

LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""

# C0, DEL and C1 without tab and newline; the separators that terminals and line readers treat as a newline.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_AND_NEWLINES = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def storable(text: str) -> str:
    r"""The text in a form that JSON and PostgreSQL can store: lone surrogates and NUL become Python escapes.

    >>> storable("caf\udce9\x00")
    'caf\\udce9\\x00'
    """
    if text.isascii():
        return text.replace("\x00", "\\x00") if "\x00" in text else text
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def decoded(raw: bytes) -> str:
    """Decode bytes from Redis; bytes that are not UTF-8 are escaped, and then match no existing name."""
    return raw.decode("utf-8", "backslashreplace")


def check_text(name: str, text: str) -> None:
    """Check that a text which is data can be stored unchanged.

    Raises:
        ValueError: it holds NUL or a lone surrogate; names it.
    """
    if storable(text) != text:
        raise ValueError(f"{name}: {text!r} contains NUL or a lone surrogate, which cannot be stored: remove it")


def check_key(key: Any, longest: int = LONGEST_KEY) -> None:
    """Check that a value can be the key of a job, or with `longest` that of a schedule.

    Raises:
        ValueError: it cannot; says why.
    """
    if not isinstance(key, str):
        raise ValueError(f"key takes a text, such as key='weekly', not {key!r}")
    if len(key) > longest:
        raise ValueError(f"key: {key[:40]!r}... has {len(key)} characters; it has {longest} at most")
    check_text("key", key)


def check_schema(name: str) -> None:
    """Check that a text can be the name of a schema in PostgreSQL.

    Raises:
        ValueError: it cannot; says why.
    """
    fits = isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) and len(name) <= LONGEST_NAME
    if not fits or name.lower().startswith("pg_"):
        raise ValueError(
            f"schema: {name!r} is not a name of 1 to {LONGEST_NAME} ASCII letters, digits, _ and -, that begins with a "
            "letter or _, and not with pg_"
        )


def error_text(error: BaseException) -> str:
    """The traceback of an error with its causes and notes, in the form that is stored."""
    try:
        lines = traceback.format_exception(error)
    except Exception:
        # Python evaluates the truth value of an error, which runs code of its class.
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}, which cannot be shown\n"]
    return storable("".join(lines))


def clipped(text: str) -> str:
    """The text, shortened to LONGEST_ERROR characters at most: the beginning and the end of a longer one.

    Call it after secrets are removed: half of a secret would not be found.
    """
    left_out = len(text) - LONGEST_ERROR
    if left_out <= 0:
        return text
    half = LONGEST_ERROR // 2
    return f"{text[:half]}\n... {left_out:,} characters are left out ...\n{text[-half:]}"


def printable(text: str, *, newlines: bool = False) -> str:
    r"""The text for a terminal or a log, with control characters as Python escapes.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'

    Args:
        text: the text.
        newlines: True: keep newlines, as in a traceback.
    """
    controls = _CONTROLS if newlines else _CONTROLS_AND_NEWLINES
    return controls.sub(lambda found: repr(found[0])[1:-1], storable(text))


def loggable(text: str) -> str:
    """Text from a client as printable ASCII of up to 200 characters, so that it cannot forge log lines.

    >>> loggable("/jobs/a\\nforged")
    '/jobs/a\\\\nforged'
    """
    return text[:200].encode("unicode_escape").decode("ascii")
