"""MarginPolicy: what is charged, declared as one checked value."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from numbers import Real

from mcmargin.audit import fingerprint as digest
from mcmargin.checks import whole_number
from mcmargin.errors import PolicyError


@dataclass(frozen=True)
class MarginPolicy:
    """Expected shortfall at a level, over a margin period of risk.

    Attributes
    ----------
    level : float
        Confidence level, between 0.5 and 1.
    horizon : int, optional
        Margin period of risk in bars; the longest simulated where none is given.
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
    confidence: float = 0.95
    max_age_days: float | None = None

    def __post_init__(self) -> None:
        for name in ("level", "confidence", "max_age_days"):
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
        if self.max_age_days is not None and not self.max_age_days >= 0:
            raise PolicyError(f"max_age_days must be 0 or more, not {self.max_age_days}")

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of every field."""
        return digest(*astuple(self))
