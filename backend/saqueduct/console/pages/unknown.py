"""Addresses below the console that are no page of it."""

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath


@get("/{unknown:path}")
async def unknown_page(unknown: FromPath[str]) -> Response[str]:
    """The page of an error, where the application would answer with JSON.

    Raises:
        NotFoundException: always.
    """
    raise NotFoundException(f"the console has no page {unknown}")
