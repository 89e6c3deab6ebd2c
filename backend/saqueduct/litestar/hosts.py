"""The host names that the process serves.

A page of another site can make its own name point at this machine (DNS rebinding); its requests then carry that name.
"""

import re
from collections.abc import Iterable
from typing import Final

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine; always served, as no name of another site can be one of them."""

_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")

_REMEMBERED = 1000
"""Most headers that are remembered as allowed."""


class AllowedHosts:
    """Checks whether Host headers are allowed, with any port.

    Args:
        names: besides LOCAL_NAMES; `*.example.com` is every name below example.com, `*` every name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = {name.lower() for name in names}
        self._all = "*" in wanted
        self._names = LOCAL_NAMES | wanted
        self._suffixes = tuple(name[1:] for name in wanted if name.startswith("*."))
        self._remembered: set[bytes] = set()

    def __contains__(self, header: bytes) -> bool:
        """True for a Host header that may pass."""
        if self._all or header in self._remembered:
            return True
        match = _HOST.fullmatch(header.lower())
        if match is None:
            return False
        name = match[1].decode("ascii")
        if name not in self._names and not (self._suffixes and name.endswith(self._suffixes)):
            return False
        if len(self._remembered) < _REMEMBERED:
            self._remembered.add(header)
        return True
