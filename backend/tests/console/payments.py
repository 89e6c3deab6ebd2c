"""A task whose arguments are structs, unions and times."""

import datetime as dt

import msgspec

from saqueduct import Context


class Address(msgspec.Struct):
    street: str
    city: str = "Bonn"


class Card(msgspec.Struct, tag=True):
    number: str
    address: Address


class Account(msgspec.Struct, tag=True):
    iban: str
    since: dt.datetime | None = None


class Tree(msgspec.Struct):
    name: str
    below: "Tree | None" = None


MAIN = Address("Main")


async def pay(
    ctx: Context,
    *,
    by: Card | Account,
    at: dt.datetime,
    ship: Address | None = None,
    bill: Address = MAIN,
    code: int | str = 3,
    tree: Tree | None = None,
) -> None:
    """Pay."""
