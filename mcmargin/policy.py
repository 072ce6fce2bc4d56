"""MarginPolicy: what is charged, declared as one checked value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real

from mcmargin.audit import fingerprint as digest
from mcmargin.checks import whole_number
from mcmargin.errors import PolicyError

PRODUCTS = ("spot", "perpetual", "future", "option")
"""Product classes of instruments."""


@dataclass(frozen=True)
class MarginPolicy:
    """Expected shortfall at a level, over a margin period of risk.

    Attributes
    ----------
    level : float
        Confidence level, between 0.5 and 1.
    horizon : int, optional
        Margin period of risk in bars; the longest simulated where none is given.
    horizons : mapping of str to int, optional
        Close-out horizon of a product class (`spot`, `perpetual`, `future`, `option`), in bars;
        `horizon` for the others. On every path a position is frozen at its own horizon.
    short_option_minimum : float
        Least margin for each short option, as a share of its notional.
    confidence : float
        Of the Monte Carlo intervals.
    max_age_days : float, optional
        How much older than the market the model's state may be.

    Raises
    ------
    PolicyError
        If any is out of range.

    Examples
    --------
    >>> MarginPolicy(level=0.975).level
    0.975
    """

    level: float = 0.99
    horizon: int | None = None
    horizons: Mapping[str, int] = field(default_factory=dict)
    short_option_minimum: float = 0.0
    confidence: float = 0.95
    max_age_days: float | None = None

    def __post_init__(self) -> None:
        for name in ("level", "confidence", "short_option_minimum", "max_age_days"):
            value = getattr(self, name)
            if value is None and name == "max_age_days":
                continue
            if isinstance(value, bool) or not isinstance(value, Real):
                raise PolicyError(f"{name} must be a number, not {value!r}")
            # Plain numbers, so that a policy's fingerprint does not hang on the caller's types.
            object.__setattr__(self, name, float(value))
        if not 0.5 < self.level < 1:
            raise PolicyError(f"level must lie between 0.5 and 1 (0.99 is 99 %), not {self.level}")
        if not 0 < self.confidence < 1:
            raise PolicyError(f"confidence must lie between 0 and 1, not {self.confidence}")
        if self.horizon is not None:
            object.__setattr__(self, "horizon", whole_number("horizon", self.horizon))
        for product, bars in self.horizons.items():
            if product not in PRODUCTS:
                raise PolicyError(f"horizons: {product!r} is no product class; give of {PRODUCTS}")
            whole_number(f"horizons of {product!r}", bars)
        plain = {product: int(bars) for product, bars in sorted(self.horizons.items())}
        object.__setattr__(self, "horizons", plain)
        if not 0 <= self.short_option_minimum <= 1:
            raise PolicyError(
                "short_option_minimum is a share of notional between 0 and 1, not "
                f"{self.short_option_minimum}"
            )
        if self.max_age_days is not None and not self.max_age_days >= 0:
            raise PolicyError(f"max_age_days must be 0 or more, not {self.max_age_days}")

    def horizons_from(self, longest: int) -> dict[str, int]:
        """Horizon of every product class, where the longest simulated is the default."""
        common = longest if self.horizon is None else self.horizon
        return {product: self.horizons.get(product, common) for product in PRODUCTS}

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of every field."""
        parts = [getattr(self, each.name) for each in fields(self)]
        return digest(*(tuple(p.items()) if isinstance(p, dict) else p for p in parts))
