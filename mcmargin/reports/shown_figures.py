"""Figures as people read them: rounded to the digits that their Monte Carlo error leaves reliable.

In: amounts, and the standard errors that they have. Out: text. The exact figures are in a report's
JSON.
"""

from __future__ import annotations

import math

MOST_DECIMALS = 6
"""Most decimals of an exact amount."""


def place_of(error: float) -> int | None:
    """Power of ten of the last reliable digit beside an error; None if there is no error.

    Two digits of the error are kept if its first three digits are 100 to 354, and one digit if
    they are 355 to 999.

    References
    ----------
    Particle Data Group, Review of Particle Physics, Introduction, section 5.3: Rounding.

    Examples
    --------
    >>> [place_of(error) for error in (44.0, 1873.0, 0.827, 0.119, 0.0)]
    [1, 2, -1, -2, None]
    """
    if not (math.isfinite(error) and error > 0.0):
        return None
    power = math.floor(math.log10(error))
    return power - 1 if error < 3.545 * 10.0**power else power


def exact_place(scale: float) -> int:
    """Power of ten of the last digit of exact amounts, from the largest of them.

    Examples
    --------
    >>> [exact_place(scale) for scale in (3e6, 35.0, 1.4)]
    [0, -2, -6]
    """
    return 0 if scale >= 1e3 else -2 if scale >= 10.0 else -MOST_DECIMALS


def shown(amount: float, place: int) -> str:
    """An amount rounded to a power of ten, or to its own second digit if that is smaller.

    So only an amount below 1e-9 is shown as 0.

    Examples
    --------
    >>> shown(12345.678, 1), shown(-88703.47, 2), shown(-12.34, 2), shown(-0.0, 2), shown(1.5, -2)
    ('12,350', '-88,700', '-12', '0', '1.50')
    """
    if abs(amount) < 1e-9:
        return "0"
    place = min(place, math.floor(math.log10(abs(amount))) - 1)
    return f"{round(amount, -place) + 0.0:,.{max(0, -place)}f}"


def shown_error(error: float) -> str:
    """An error of two digits after its sign; empty text for no error.

    Examples
    --------
    >>> shown_error(44.4), shown_error(1873.4), shown_error(0.0)
    ('± 44', '± 1,900', '')
    """
    place = place_of(error)
    return "" if place is None else f"± {shown(error, 15)}"


def shown_exactly(amount: float) -> str:
    """An amount to a hundredth, or to six decimals below 100.

    Examples
    --------
    >>> shown_exactly(88703.4721), shown_exactly(1.42857142857)
    ('88,703.47', '1.428571')
    """
    decimals = 2 if abs(amount) >= 100.0 else MOST_DECIMALS
    return f"{round(amount, decimals) + 0.0:,.{decimals}f}"
