"""Limits of the requests that stay open: each holds a connection and a subscription."""


class Bound:
    """Counts those who are inside.

    Args:
        most: at the same time, in this process.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside = 0

    @property
    def full(self) -> bool:
        """True when there is no room."""
        return self.inside >= self.most

    def enter(self) -> bool:
        """Count one more and return True; False: there is no room."""
        if self.full:
            return False
        self.inside += 1
        return True

    def leave(self) -> None:
        """Count one less."""
        self.inside -= 1


WAITING = Bound(1000)
"""Requests that wait for a result."""

LISTENING = Bound(500)
"""Streams of events."""
