"""Market: prices at one moment.

In: an as-of time and spot prices. Out: a checked, frozen value that instruments are valued at.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from mcmargin.audit import fingerprint as digest
from mcmargin.errors import DataError


@dataclass(frozen=True)
class Market:
    """Prices at one moment.

    Attributes
    ----------
    as_of : numpy.datetime64
    spot : mapping of str to float
        Price of one unit of each asset, above 0, in currency units.

    Raises
    ------
    DataError
        If a price is not a finite number above 0, or their time is none.

    Examples
    --------
    >>> Market(as_of=np.datetime64("2021-01-04"), spot={"btc": 32_000.0}).spot["btc"]
    32000.0
    """

    as_of: np.datetime64
    spot: Mapping[str, float]

    def __post_init__(self) -> None:
        if not isinstance(self.as_of, np.datetime64) or np.isnat(self.as_of):
            raise DataError(f"market: as_of must be a numpy.datetime64, not {self.as_of!r}")
        for asset, price in self.spot.items():
            number = isinstance(price, Real) and not isinstance(price, bool)
            if not (number and 0 < price <= sys.float_info.max):
                raise DataError(
                    f"market: the price of {asset!r} must be a number above 0, not {price!r}"
                )

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of the prices and their time."""
        # One form for any unit of time and type of number, so that a report read back agrees.
        prices = tuple(sorted((asset, float(price)) for asset, price in self.spot.items()))
        return digest(str(self.as_of.astype("datetime64[ns]")), prices)
