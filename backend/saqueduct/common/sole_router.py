"""A router of Litestar for a single application."""

from typing import Any, Self

from litestar import Router


class SoleRouter(Router):
    """A router that belongs to one application, for whose registration Litestar makes no copy of it.

    Litestar makes a deep copy of each router, with all its handlers, once for every router around it, because others
    may get the same one. The copies are a third of the time that an application of a hundred routes takes to build.
    """

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self
