"""Times in queries and bodies."""

import datetime as dt
from typing import Annotated

from litestar.params import QueryParameter

from saqueduct.common.moments import moment_of
from saqueduct.errors import InvalidSearch

Time = Annotated[
    str | None,
    QueryParameter(description="a time in ISO 8601, in UTC where it has no offset, or a duration before now: 2h, 7d"),
]


def moment(name: str, text: str | None) -> dt.datetime | None:
    """The time of a parameter; None where it is left out.

    Raises:
        InvalidSearch: it is none.
    """
    try:
        return None if text is None else moment_of(text, dt.UTC)
    except ValueError as error:
        raise InvalidSearch(f"{name}: {error}") from None
