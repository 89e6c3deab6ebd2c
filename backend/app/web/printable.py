"""What clients send, as it may be written into the log."""


def printable(text: str) -> str:
    """Printable ASCII, shortened: a request is to write no lines of its own into the log.

    >>> printable("/jobs/a\\nforged")
    '/jobs/a\\\\nforged'
    """
    return text[:200].encode("unicode_escape").decode("ascii")
