"""Terms of instruments: what the fields of an instrument must be, and how long it still runs.

In: an instrument as it is made, or its expiry and a market. Out: numbers and times, or an error
that names the instrument and the field.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmargin.checks import cited
from mcmargin.data.bars import years_between
from mcmargin.data.ranges import check_ranges
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError
from mcmargin.markets.market import Market


def years_left(name: str, expiry: np.datetime64, market: Market) -> float:
    """Years from a market to the expiry of a named instrument.

    Raises
    ------
    DataError
        If it has expired.
    """
    years: float = years_between(market.as_of, expiry)
    if years <= 0.0:
        raise DataError(
            f"instrument {name!r} expired at {expiry.astype('M8[s]')}, and "
            f"the market is of {market.as_of.astype('M8[s]')}; take it out of the book"
        )
    return years


def expiry_time(name: str, expiry: Any) -> np.datetime64:
    """Expiry of a named instrument, in UTC.

    Raises
    ------
    DataError
        If it is no ISO time.
    """
    try:
        return utc_time(expiry)
    except ValueError as error:
        raise DataError(f"instrument {name!r}: expiry: {error}") from None


def check_terms(instrument: Any) -> None:
    """Check the fields that all instruments may have: names, flags and numbers.

    Raises
    ------
    DataError
        If one of them cannot be right; the error names the instrument and the field.
    """
    for field in ("name", "underlying", "currency", "price_asset"):
        value = getattr(instrument, field, None)
        if value is None and field == "price_asset":
            continue
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"instrument {cited(instrument.name)}: {field} must be text, not {cited(value)}"
            )
    if hasattr(instrument, "inverse"):
        _check_inverse(instrument)
    check_ranges(instrument, f"instrument {instrument.name!r}")


def _check_inverse(instrument: Any) -> None:
    """Check the flag `inverse`, and that an inverse contract is not quoted in its own coin."""
    inverse = instrument.inverse
    if not isinstance(inverse, (bool, np.bool_)):
        raise DataError(
            f"instrument {instrument.name!r}: inverse must be True or False, not {cited(inverse)}"
        )
    object.__setattr__(instrument, "inverse", bool(inverse))
    if inverse and instrument.currency == instrument.underlying:
        raise DataError(
            f"instrument {instrument.name!r}: an inverse contract's currency is the one it is "
            f"quoted in, as USD, not its coin {instrument.currency!r}"
        )
