"""Accounts: in which currency, with which others, and how each is margined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mcmargin.checks import cited
from mcmargin.errors import DataError

MODES = ("cross", "isolated")
NETTINGS = ("gross", "net")


@dataclass(frozen=True)
class Account:
    """An account, and how it is margined.

    Attributes
    ----------
    name : str
    currency : str
        The currency in which its margin is computed.
    owner : str
        Owner of several accounts; the account itself where none is given.
    mode : str
        `cross`: its positions cover one another; `isolated`: each is margined alone.
    netting : str
        Of the owner: `gross` adds up its accounts' margins, `net` margins all of their positions
        as one.

    Examples
    --------
    >>> Account("hedge", "EUR", owner="fund", netting="net").owner
    'fund'
    >>> Account("desk").owner
    'desk'
    """

    name: str
    currency: str = "USD"
    owner: str = ""
    mode: str = "cross"
    netting: str = "gross"

    def __post_init__(self) -> None:
        for name in ("name", "currency", "owner"):
            value = getattr(self, name)
            if not isinstance(value, str) or (not value.strip() and name != "owner"):
                raise DataError(f"account {cited(self.name)}: {name} must be text: {cited(value)}")
        for name, allowed in (("mode", MODES), ("netting", NETTINGS)):
            given = getattr(self, name)
            if not isinstance(given, str) or given not in allowed:
                raise DataError(
                    f"account {self.name!r}: {name} {cited(given)} is unknown; give one "
                    f"of {allowed}"
                )
        object.__setattr__(self, "owner", self.owner or self.name)
        if self.mode == "isolated" and self.netting == "net":
            raise DataError(
                f"account {self.name!r}: isolated positions cannot be netted with the owner's "
                "others; make it cross, or its owner's netting gross"
            )


def check_owners(accounts: Iterable[Account]) -> None:
    """Refuse owners whose accounts disagree on netting, or if netted on their currency.

    Raises
    ------
    DataError
        Naming the owner and two accounts.
    """
    first: dict[str, Account] = {}
    for account in accounts:
        other = first.setdefault(account.owner, account)
        if account.netting != other.netting:
            raise DataError(
                f"owner {account.owner!r}: account {other.name!r} is netted {other.netting!r} and "
                f"{account.name!r} {account.netting!r}; give one way"
            )
        if account.netting == "net" and account.currency != other.currency:
            raise DataError(
                f"owner {account.owner!r}: netted accounts are in one currency, and "
                f"{other.name!r} is in {other.currency}, {account.name!r} in {account.currency}"
            )
