"""Accounts: the currency and the owner of each account, and how it is margined.

In: names and choices. Out: a checked `Account`, or a `DataError` that names it.
"""

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
        Currency in which the margin is computed.
    owner : str
        Name of the owner, who may have several accounts. If it is empty, the account is its own
        owner.
    mode : str
        `cross`: the positions of the account cover one another. `isolated`: each position is
        margined alone.
    netting : str
        How the owner is margined: `gross` adds up the margins of the accounts, and `net` margins
        all of their positions as one.

    Raises
    ------
    DataError
        If a name or currency is empty, if a choice is unknown, and if an isolated account is
        netted.

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
    """Refuse owners whose accounts disagree.

    All accounts of an owner have the same netting. If they are netted, they have the same currency.

    Raises
    ------
    DataError
        It names the owner and two accounts.
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
