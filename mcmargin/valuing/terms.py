"""Terms of instruments: what their fields must be, and the time that they have left.

In: an instrument as it is made, or with a market. Out: numbers and times, or an error that names
the instrument and the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mcmargin.data.bars import years_between
from mcmargin.data.times import utc_time
from mcmargin.errors import DataError

if TYPE_CHECKING:
    from mcmargin.markets.market import Market
    from mcmargin.valuing.linear import Future, Perpetual
    from mcmargin.valuing.option import Option


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


def plain_number(instrument: Any, field: str) -> float:
    """Make a field a plain float; DataError where it is no finite number."""
    value = getattr(instrument, field)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise DataError(f"instrument {instrument.name!r}: {field} must be a number, not {value!r}")
    object.__setattr__(instrument, field, float(value))
    return float(value)


def require_finite(instrument: Any, *fields: str) -> None:
    """Refuse fields that are no finite numbers."""
    for field in fields:
        plain_number(instrument, field)


def require_positive(instrument: Any, *fields: str) -> None:
    """Refuse fields that are no numbers above 0."""
    for field in fields:
        if not (value := plain_number(instrument, field)) > 0:
            raise DataError(f"instrument {instrument.name!r}: {field} must be above 0, not {value}")


def require_not_negative(instrument: Any, *fields: str) -> None:
    """Refuse fields that are no numbers of 0 or more."""
    for field in fields:
        if not (value := plain_number(instrument, field)) >= 0:
            raise DataError(f"instrument {instrument.name!r}: {field} must be 0 or more: {value}")
