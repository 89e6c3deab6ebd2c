"""Phrases of HTTP statuses: the same with every version of Python, since programs read codes that are made of them."""

from http import HTTPStatus
from typing import Final

_PHRASES: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""As RFC 9110 names them, section 15.5; Python before 3.13 has those of RFC 7231 and RFC 4918."""


def phrase_of(status: int) -> str:
    """The phrase of a status, or "Error" for one that is not assigned."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"
