"""A router of Litestar for a single application."""

from copy import copy, deepcopy
from typing import Any, Self

from litestar import Router
from litestar.exceptions import ImproperlyConfiguredException


class SoleRouter(Router):
    """A router that belongs to one application, for whose registration Litestar makes no copy of it.

    Litestar makes a deep copy of each router, with all its handlers, once for every router around it, because others
    may get the same one. The copies are a third of the time that an application of a hundred routes takes to build.

    Inside a router of another class it is copied with that one, as any router.

    Raises:
        ImproperlyConfiguredException: it is registered a second time.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.owner is None:
            return self
        around: Router | None = self.owner
        while around is not None and id(around) not in memo:
            around = around.owner
        if around is None:
            raise ImproperlyConfiguredException(
                f"the router of {self.path} is registered twice: make another one, with the same arguments"
            )
        # A router around it is being copied: without a copy this one, and its handlers, would stay inside the
        # original, which belongs to no application.
        made = memo[id(self)] = copy(self)
        for name in Router.__slots__:
            setattr(made, name, deepcopy(getattr(self, name), memo))
        return made
