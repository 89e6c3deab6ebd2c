"""A request that reads only bodies of a content type that its route takes, and only valid JSON."""

from collections.abc import AsyncGenerator
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Empty

from saqueduct.common.strict_json import RepeatedMember, check_members

CLOSE = {"Connection": "close"}
"""Header of an answer that is sent before the whole body has been read."""


def repeated(error: RepeatedMember) -> ValidationException:
    """400 for a body that has a member twice, of which one would be ignored."""
    extra = [{"key": error.name, "message": str(error), "source": "body"}]
    return ValidationException(f"the body: {error}", extra=extra)


class StrictRequest(Request[Any, Any, Any]):
    """Litestar's request with more checks of its body.

    A route takes JSON, or the types that its `opt={"content_types": ["application/x-www-form-urlencoded"]}` lists. A
    page of another site can make a browser send forms and text, but not JSON.
    """

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in chunks.

        Raises:
            HTTPException: the route does not take its content type (415), or so much (413).
        """
        if self._body is Empty:
            self._check_content_type()
        try:
            async for chunk in super().stream():
                yield chunk
        except RequestEntityTooLarge:
            limit = self.route_handler.resolve_request_max_body_size()
            detail = f"the body is larger than the {limit} bytes that this route reads: send less at once"
            raise HTTPException(detail, status_code=413, headers=CLOSE) from None

    async def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValidationException: an object in it has a member twice, or text in it is not UTF-8, for which Litestar 2.25
                answers 500.
        """
        if self._json is not Empty:
            return self._json
        try:
            content = await super().json()
            check_members(await self.body(), content)
        except UnicodeDecodeError as error:
            raise ValidationException(f"the body is not JSON: {error}") from None
        except RepeatedMember as error:
            raise repeated(error) from None
        return content

    def _check_content_type(self) -> None:
        if self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers:
            return
        given = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        taken: list[str] = self.route_handler.opt.get("content_types", ["application/json"])
        if given not in taken:
            sent = f"not {given}" if given else "and the request says none"
            raise HTTPException(f"the body must be {' or '.join(taken)}, {sent}: set Content-Type", status_code=415)
