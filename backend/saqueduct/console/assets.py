"""The stylesheet, the script and the icon, each under a name with the hash of its content."""

import functools
import hashlib
import mimetypes
from pathlib import Path
from typing import Any, Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

FOLDER: Final = Path(__file__).parent / "static"

FOREVER: Final = "public, max-age=31536000, immutable"
"""For browsers: another content has another name."""


@functools.cache
def files() -> dict[str, bytes]:
    """The files by their names with hashes, such as "console.1f0c3a5be2d4.css"."""
    return {_hashed(path): path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.is_file()}


@functools.cache
def name_of(file: str) -> str:
    """The name with hash of a file, such as "console.css"."""
    return _hashed(FOLDER / file)


def _hashed(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return f"{path.stem}.{digest}{path.suffix}"


@get("/static/{name:str}", include_in_schema=False, opt={"public": True})
async def asset(name: FromPath[str]) -> Response[Any]:
    """A file; open to everyone, because pages for those who may not enter need it too."""
    content = files().get(name)
    if content is None:
        raise NotFoundException
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, media_type=media_type, headers={"Cache-Control": FOREVER})
