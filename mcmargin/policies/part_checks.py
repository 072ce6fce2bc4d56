"""Checks that several parts of a policy share.

In: a value that a user gave, and its name. Out: the value in plain types, or a `PolicyError` that
says what was given and what is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcmargin.checks import cited, whole_number
from mcmargin.data.ranges import SIMULATED_BARS
from mcmargin.errors import PolicyError

PRODUCTS = ("spot", "perpetual", "future", "option")
"""Product classes of instruments."""


def parts_of(where: str, value: Any, kind: type, way: str) -> tuple[Any, ...]:
    """Check a list of parts, and return it as a tuple.

    Parameters
    ----------
    where : str
        Name of the list, for messages.
    value : object
    kind : type
        Class of the parts.
    way : str
        An example of a part, for messages.

    Raises
    ------
    PolicyError
        If it is not a list or tuple, or has anything but such parts.

    Examples
    --------
    >>> parts_of("rates", [0.1, 0.2], float, "0.1")
    (0.1, 0.2)
    """
    if not isinstance(value, (tuple, list)):
        raise PolicyError(f"{where} must be a tuple of {kind.__name__} objects, not {cited(value)}")
    for each in value:
        if not isinstance(each, kind):
            raise PolicyError(
                f"{where} must hold {kind.__name__} objects, such as {way}, not {cited(each)}"
            )
    return tuple(value)


def require_text(where: str, value: Any) -> None:
    """Refuse a name that is empty or not a text."""
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{where} must be text, not {cited(value)}")


def one_of(what: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a name that is not one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise PolicyError(f"{what} {value!r} is unknown; give one of {allowed}")


def check_horizons(part: Any) -> None:
    """Check the `horizon` and `horizons` of a part, and keep them sorted and as plain numbers."""
    if part.horizon is not None:
        object.__setattr__(
            part, "horizon", whole_number("horizon", part.horizon, most=SIMULATED_BARS)
        )
    if not isinstance(part.horizons, Mapping):
        raise PolicyError(
            f"horizons must be a mapping of product classes to bars, such as {{'option': 5}}, not "
            f"{part.horizons!r}; give one for all as horizon="
        )
    plain = {}
    for product, bars in sorted(part.horizons.items()):
        one_of("horizons: product class", product, PRODUCTS)
        plain[product] = whole_number(f"horizons of {product!r}", bars, most=SIMULATED_BARS)
    object.__setattr__(part, "horizons", plain)
