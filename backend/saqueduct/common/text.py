"""Text of users and errors: what is escaped, so that Redis, PostgreSQL, HTTP and a terminal all take it.

What travels as data is refused where it cannot (see `encoding.py`); what only tells something, such as an error, an
abort's reason or a remark, is escaped: it must not cost the job that it tells of.
"""

import re
import traceback

LONGEST_ERROR = 256 * 1024
"""Characters of an error that a job keeps; with a longer one it might be more than Redis takes."""

LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL."""

# C0, DEL and C1 without tab and newline; the separators that terminals and readers of lines take for a newline.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_AND_NEWLINES = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def storable(text: str) -> str:
    r"""A text that JSON and PostgreSQL can hold: lone surrogates and NUL as their escapes in Python.

    >>> storable("caf\udce9\x00")
    'caf\\udce9\\x00'
    """
    if text.isascii():
        return text.replace("\x00", "\\x00") if "\x00" in text else text
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def decoded(raw: bytes) -> str:
    """The text of what somebody has put into Redis; what is no UTF-8 is escaped, and names nothing that is there."""
    return raw.decode("utf-8", "backslashreplace")


def check_text(name: str, text: str) -> None:
    """See that a text which is data can be stored as it is.

    Raises:
        ValueError: it holds NUL or a lone surrogate; names it.
    """
    if storable(text) != text:
        raise ValueError(f"{name}: {text!r} holds NUL or half a surrogate pair, which cannot be stored: leave it out")


def check_schema(name: str) -> None:
    """See that a text can be the name of a schema in PostgreSQL.

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
    """The traceback of an error, its causes and notes, as it is stored."""
    try:
        lines = traceback.format_exception(error)
    except Exception:
        # Python asks an error whether it is true, which runs code of its class.
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}, which cannot be shown\n"]
    return storable("".join(lines))


def clipped(text: str) -> str:
    """A text of LONGEST_ERROR characters at most: of a longer one the beginning and the end.

    After secrets were taken out of it: half of one would not be found.
    """
    left_out = len(text) - LONGEST_ERROR
    if left_out <= 0:
        return text
    half = LONGEST_ERROR // 2
    return f"{text[:half]}\n... {left_out:,} characters are left out ...\n{text[-half:]}"


def printable(text: str, *, newlines: bool = False) -> str:
    r"""A text for a terminal or a log, without control characters: as their escapes in Python.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'

    Args:
        text: the text.
        newlines: True: it may have several lines, as a traceback does.
    """
    controls = _CONTROLS if newlines else _CONTROLS_AND_NEWLINES
    return controls.sub(lambda found: repr(found[0])[1:-1], storable(text))


def loggable(text: str) -> str:
    """What a client sent, as printable ASCII of up to 200 characters, so that it cannot forge lines of the log.

    >>> loggable("/jobs/a\\nforged")
    '/jobs/a\\\\nforged'
    """
    return text[:200].encode("unicode_escape").decode("ascii")
