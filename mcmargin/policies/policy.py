"""MarginPolicy: what is charged, declared as one checked value.

In: numbers, and the parts of the policy. Out: a value that `margin` reads, and that is written to
TOML and read from it. It switches the steps of the formula on; `mcmargin.policies.formula` has them
in one table. Line by line they are

    base        = ES(level, horizon by product class)
    stressed    = max(base, floor) + stress add-on
    calm        = buffer and speed limit(stressed, previous)
    total       = calm + liquidity + concentration + funding
    margin      = round up to tick(max(total, notional / maximum leverage))
    maintenance = the same at its own level and horizon

The paths of base include those of the stressed period, at their weight. Initial margin is never
below maintenance margin, which is taken on the same paths: a shorter horizon can cost more.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from mcmargin.audit import fingerprint as digest
from mcmargin.audit import plain
from mcmargin.checks import cited, plain_number, require_type
from mcmargin.data.files import write_text
from mcmargin.data.limits import LARGEST_TOML, read_bytes, require_shallow
from mcmargin.data.ranges import CONFIDENCE, PROBABILITY, SHARE, Range, check_ranges
from mcmargin.data.typed_fields import read_dataclass
from mcmargin.errors import DataError, PolicyError
from mcmargin.policies.part_checks import PRODUCTS, check_horizons
from mcmargin.policies.policy_parts import (
    Collateral,
    Concentration,
    Leverage,
    Liquidity,
    Maintenance,
    Procyclicality,
    Resources,
)
from mcmargin.policies.stress_parts import Stress

VERSION = 1
"""Version of the form of policy files."""

LEAST_TICK = 1e-12
"""Least tick. A finer one would round nothing, and a division by it might overflow."""

POLICY_PARTS = (
    Maintenance,
    Stress,
    Procyclicality,
    Liquidity,
    Concentration,
    Leverage,
    Resources,
    Collateral,
)
"""Classes of the parts; each part is in the field with the name of its class."""


@dataclass(frozen=True)
class MarginPolicy:
    """How the margin of an account is computed.

    Attributes
    ----------
    level : float
        Confidence level of the expected shortfall, between 0.5 and 1.
    horizon : int, optional
        Margin period of risk in bars; by default, the longest horizon that is simulated.
    horizons : mapping of str to int
        Close-out horizon of a product class (`spot`, `perpetual`, `future`, `option`), in bars; the
        others have `horizon`. On every path a position keeps the value that it has at its own
        horizon.
    short_option_minimum : float
        Smallest margin for each short option, as a share of its notional.
    confidence : float
        Confidence level of the Monte Carlo intervals.
    max_age_days : float, optional
        Largest age of the model's state at the time of the market, in days; by default 10, or what
        the market's `plausibility` says.
    name : str
        Name of the policy in reports.
    maintenance, stress, procyclicality, liquidity, concentration, leverage, resources, collateral
        Parts of the policy, each of the class with its name; None for a part that is not used.
        Without `collateral`, balances count jointly.
    tick : float
        Margins are rounded up to whole multiples of this amount; with 0 they are not rounded.

    Raises
    ------
    PolicyError
        If a number is out of range, or a part has the wrong type.

    Examples
    --------
    >>> MarginPolicy(level=0.975).level
    0.975
    """

    level: Annotated[float, CONFIDENCE] = 0.99
    horizon: int | None = None
    horizons: Mapping[str, int] = field(default_factory=dict)
    short_option_minimum: Annotated[float, SHARE] = 0.0
    confidence: Annotated[float, PROBABILITY] = 0.95
    max_age_days: Annotated[float, Range(0.0, 1e9)] | None = None
    name: str = ""
    maintenance: Maintenance | None = None
    stress: Stress | None = None
    procyclicality: Procyclicality | None = None
    liquidity: Liquidity | None = None
    concentration: Concentration | None = None
    leverage: Leverage | None = None
    resources: Resources | None = None
    collateral: Collateral | None = None
    tick: Annotated[float, Range(0.0, 1e12)] = 0.0

    def __post_init__(self) -> None:
        number = plain_number(self.level)
        if number is None or not 0.5 < number < 1:
            raise PolicyError(
                f"level must lie between 0.5 and 1 (0.99 is 99 %), not {cited(self.level)}"
            )
        # Numbers become plain floats, so that their types do not change the fingerprint.
        check_ranges(self, "policy", error=PolicyError)
        if not isinstance(self.name, str):
            raise PolicyError(f"policy: name must be text, not {cited(self.name)}")
        if 0.0 < self.tick < LEAST_TICK:
            raise PolicyError(
                f"policy: tick must be 0, or at least {LEAST_TICK:g}, not {self.tick:g}"
            )
        for part in POLICY_PARTS:
            given = getattr(self, part.__name__.lower())
            if given is not None:
                require_type(part.__name__.lower(), given, part, error=PolicyError)
        check_horizons(self)

    def horizons_from(self, longest: int) -> dict[str, int]:
        """Horizon of every product class in bars; by default, the longest that is simulated."""
        common = longest if self.horizon is None else self.horizon
        return {product: self.horizons.get(product, common) for product in PRODUCTS}

    def maintenance_horizons_from(self, longest: int) -> dict[str, int]:
        """Horizon of maintenance margin of every product class; by default, the initial one."""
        initial = self.horizons_from(longest)
        if self.maintenance is None:
            return initial
        own, common = self.maintenance.horizons, self.maintenance.horizon
        return {
            product: own.get(product, bars if common is None else common)
            for product, bars in initial.items()
        }

    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of every field."""
        return digest(*(plain(getattr(self, each.name)) for each in fields(self)))

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> MarginPolicy:
        r"""Read a policy from a file; its first line is `version = 1`.

        Raises
        ------
        PolicyError
            If a field is unknown, missing or out of range; it names the file and the field.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "policy.toml"
        ...     _ = path.write_text("version = 1\nlevel = 0.975\n[procyclicality]\nbuffer = 0.25\n")
        ...     MarginPolicy.from_toml(path).procyclicality.buffer
        0.25
        """
        given = _toml_of(path)
        version = given.pop("version", None)
        if version != VERSION:
            found = (
                "no version is given" if version is None else f"version {version!r:.60} is unknown"
            )
            raise PolicyError(f"{path}: {found}; the first line must be: version = {VERSION}")
        try:
            policy: MarginPolicy = read_dataclass(cls, given, PolicyError, defaults=True)
        except PolicyError as error:
            raise PolicyError(f"{path}: {error}") from None
        return policy

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """TOML of the policy, without the fields that stand at their default.

        Parameters
        ----------
        path : path, optional
            File to write the text to, too.

        Returns
        -------
        str

        Examples
        --------
        >>> print(MarginPolicy(level=0.975, horizons={"option": 5}).to_toml())
        version = 1
        level = 0.975
        <BLANKLINE>
        [horizons]
        option = 5
        """
        import tomli_w

        text = tomli_w.dumps({"version": VERSION} | _given(self))
        if path is not None:
            write_text(Path(path), text)
        return text


def _toml_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file of a policy's size."""
    try:
        given = tomllib.loads(read_bytes(path, most=LARGEST_TOML).decode("utf-8-sig"))
        require_shallow(path, given)
    except DataError as error:
        raise PolicyError(str(error)) from None
    except RecursionError:
        raise PolicyError(f"{path}: not a TOML file (nested too deep)") from None
    except ValueError as error:
        raise PolicyError(f"{path}: not a TOML file ({error})") from None
    return given


def _given(part: Any) -> dict[str, Any]:
    """Fields of a part that are not at their defaults, as values that TOML has."""
    entries = {}
    for each in fields(part):
        value = getattr(part, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if value is not None and value != default:
            entries[each.name] = _toml_value(value)
    return entries


def _toml_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _toml_value(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_toml_value(entry) for entry in value]
    return _given(value) if hasattr(value, "__dataclass_fields__") else value
