"""Files of installed packages over HTTP: read once, served from memory, each by its exact name."""

import mimetypes
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import Guard


@cache
def read(path: Path) -> bytes:
    """The bytes of a file that does not change."""
    return path.read_bytes()


def serve_files(
    path: str, files: Mapping[str, bytes], *, guards: Iterable[Guard] = (), cache_control: str = "no-store"
) -> HTTPRouteHandler:
    """A route that serves `files` by name below `path`.

    Args:
        path: of the folder, such as `/saq/static`.
        files: name -> content; a name that ends with `.gz` is served as its compressed form.
        guards: of the route.
        cache_control: how long browsers may keep them.
    """

    @get(f"{path}/{{name:str}}", guards=list(guards), include_in_schema=False, cache_control=None)
    async def file(name: FromPath[str]) -> Response[Any]:
        if name not in files:
            raise NotFoundException
        kind, encoding = mimetypes.guess_type(name)
        headers = {"Cache-Control": cache_control} | ({"Content-Encoding": encoding} if encoding else {})
        return Response(files[name], media_type=kind or "application/octet-stream", headers=headers)

    return file
