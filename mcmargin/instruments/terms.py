"""Terms of instruments: what their fields must be, and the time that they have left.

In: an instrument as it is made, or with a market. Out: numbers and times, or an error that names
the instrument and the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mcmargin.checks import cited
from mcmargin.data.bars import years_between
from mcmargin.data.ranges import check_ranges
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError

if TYPE_CHECKING:
    from mcmargin.instruments.linear import Future, Perpetual
    from mcmargin.instruments.option import Option
    from mcmargin.markets.market import Market


def years_left(instrument: Future | Option, market: Market) -> float:
    """Years from a market to an instrument's expiry; DataError where it has expired."""
    years: float = years_between(market.as_of, instrument.expiry)
    if years <= 0.0:
        raise DataError(
            f"instrument {instrument.name!r} expired at {instrument.expiry.astype('M8[s]')}, and "
            f"the market is of {market.as_of.astype('M8[s]')}; take it out of the book"
        )
    return years


def expiry_time(name: str, expiry: Any) -> np.datetime64:
    """Expiry in UTC; DataError where it is no ISO time."""
    try:
        return utc_time(expiry)
    except ValueError as error:
        raise DataError(f"instrument {name!r}: expiry: {error}") from None


def refuse_coin(instrument: Perpetual | Future) -> None:
    """Refuse an inverse contract that claims to be quoted in its own coin."""
    if instrument.inverse and instrument.currency == instrument.underlying:
        raise DataError(
            f"instrument {instrument.name!r}: an inverse contract's currency is the one it is "
            f"quoted in, as USD, not its coin {instrument.currency!r}"
        )


def check_terms(instrument: Any) -> None:
    """Check the fields that all instruments may have: names, flags and numbers.

    Raises
    ------
    DataError
        Naming the instrument and the field.
    """
    for field in ("name", "underlying", "currency", "price_asset"):
        value = getattr(instrument, field, None)
        if value is None and field == "price_asset":
            continue
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"instrument {cited(instrument.name)}: {field} must be text, not {cited(value)}"
            )
    inverse = getattr(instrument, "inverse", False)
    if not isinstance(inverse, (bool, np.bool_)):
        raise DataError(
            f"instrument {instrument.name!r}: inverse must be True or False, not {cited(inverse)}"
        )
    if hasattr(instrument, "inverse"):
        object.__setattr__(instrument, "inverse", bool(inverse))
    check_ranges(instrument, f"instrument {instrument.name!r}")
