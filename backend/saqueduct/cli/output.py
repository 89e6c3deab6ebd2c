"""What the commands print: simple tables for humans, JSON for programs.

Texts of jobs come from outside: markup in them is text, and control characters, which could move the cursor of a
terminal or reorder its line, are shown as escapes.
"""

import datetime as dt
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDE = 240
"""Columns of output that goes into a file or a pipe: nothing is cut there."""

UNSAFE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that are escaped."""

STYLES = {
    "complete": "green",
    "failed": "red",
    "aborted": "yellow",
    "aborting": "yellow",
    "active": "cyan",
    "paused": "yellow",
    "replayed": "dim",
    "discarded": "dim",
}
"""Colours of statuses."""

_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def clean(text: object, *, one_line: bool = False) -> str:
    """A text without characters that control a terminal: each of them becomes an escape.

    >>> clean("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'

    Args:
        text: of a job.
        one_line: True: line breaks and tabs become spaces; False: they stay.
    """
    text = " ".join(str(text).split()) if one_line else str(text).replace("\r\n", "\n").expandtabs(4)
    return "".join(
        character.encode("unicode_escape").decode()
        if character != "\n" and unicodedata.category(character) in UNSAFE
        else character
        for character in text
    )


def console() -> Console:
    """Standard output, as it is at this moment."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(width=width, highlight=False, markup=False, emoji=False)


def emit(data: object) -> None:
    """Print JSON: times as ISO 8601 in UTC."""
    _print(msgspec.json.format(msgspec.json.encode(data), indent=2))


def emit_line(data: object) -> None:
    """Print JSON on a line of its own."""
    _print(msgspec.json.encode(data))


def _print(encoded: bytes) -> None:
    # JSON itself does not escape everything that controls a terminal.
    text = _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded.decode())
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(*parts: RenderableType | str) -> None:
    """Print parts for humans, one below the other."""
    screen = console()
    for part in parts:
        screen.print(Text(part) if isinstance(part, str) else part)


def answer(data: object, text: str, *, as_json: bool) -> None:
    """Print what a command has done: as JSON, or in words; values in the words are made harmless."""
    if as_json:
        emit(data)
    else:
        show(clean(text))


def note(text: str) -> None:
    """A remark on stderr; not wrapped, because users copy keys and cursors from it."""
    screen = Console(stderr=True, highlight=False, markup=False, emoji=False)
    screen.print(Text(clean(text), style="dim"), soft_wrap=True)


def line(text: object, style: str = "") -> Text:
    """A text on one line, cut with an ellipsis if there is no room."""
    return Text(clean(text, one_line=True), style=style, no_wrap=True, overflow="ellipsis")


def word(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=STYLES.get(status, ""), no_wrap=True)


def table(*columns: str, rows: Iterable[Sequence[RenderableType | str]], fixed: Sequence[str] = ()) -> Table:
    """A table without lines.

    Args:
        columns: the headers; that of a number column ends with "#", which is not shown.
        rows: cells.
        fixed: headers of the columns that are never cut, such as keys, which users copy.
    """
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head in columns:
        name = head.removesuffix("#")
        made.add_column(name, justify="right" if head != name else "left", no_wrap=name in fixed)
    for row in rows:
        made.add_row(*(line(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def fields(pairs: Iterable[tuple[str, RenderableType | str | None]]) -> Table:
    """Names and values, a line each; those without a value are left out."""
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(name, Text(clean(value)) if isinstance(value, str) else value)
    return made


def block(text: str) -> Text:
    """A text of several lines, indented."""
    return Text("\n".join(f"  {each}" for each in clean(text.rstrip()).split("\n")))


def json_text(value: object) -> str:
    """A value as JSON on one line."""
    return msgspec.json.encode(value).decode()


def when(moment: dt.datetime | None) -> str:
    """A time in this machine's zone: `Nov 21 09:23:30 CET`, of another year `2025-11-21 09:23 CET`; empty for none."""
    if moment is None:
        return ""
    local = moment.astimezone()
    this_year = local.year == dt.datetime.now().astimezone().year
    return f"{local:%b %d %H:%M:%S %Z}" if this_year else f"{local:%Y-%m-%d %H:%M %Z}"


def lasting(seconds: float) -> str:
    """A duration in its two largest units: `2h 5m`, `1.2s`, `40ms`."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts, left = [], round(seconds)
    for name, size in units:
        if left >= size:
            parts.append(f"{left // size}{name}")
            left %= size
    return " ".join(parts[:2])


def counted(count: int, noun: str) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class Bar:
    """A progress bar on stderr; nothing if that is no terminal."""

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def reach(self, done: float) -> None:
        """Show the progress."""
        self._progress.update(self._task, completed=done)


@contextmanager
def bar(text: str, total: float) -> Iterator[Bar]:
    """A progress bar during a block."""
    screen = Console(stderr=True)
    columns = (TextColumn(text, style="dim"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield Bar(progress, total)


def fraction(value: Any) -> str | None:
    """A progress from 0.0 to 1.0 in percent; None at 0."""
    return f"{float(value):.0%}" if value else None
