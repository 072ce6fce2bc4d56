"""What several commands make of their options: a policy, and margins with progress bars."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mcmargin.cli.app import bars
from mcmargin.cli.printing import say
from mcmargin.errors import DataError, PolicyError

if TYPE_CHECKING:
    from mcmargin.cli.options import BookOptions, ChargeOptions, PlanOptions
    from mcmargin.policies.policy import MarginPolicy
    from mcmargin.reports.margin_report import MarginReport


def pairs(option: str, example: str, texts: list[str] | None) -> dict[str, str]:
    """Read the NAME=VALUE texts of an option into values by name.

    Raises
    ------
    DataError
        If a text has no name or no value, or if a name is given twice.

    Examples
    --------
    >>> pairs("--trade", "BTC-PERP=+3", ["sp500=-2", "wti=10"])
    {'sp500': '-2', 'wti': '10'}
    """
    out: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        if not (name and equals and value):
            raise DataError(f"{option} {text!r}: a name and a value are needed, such as {example}")
        if name in out:
            raise DataError(f"{option}: {name!r} is given twice; give it once")
        out[name] = value
    return out


def margin_policy(charge: ChargeOptions, plan: PlanOptions) -> MarginPolicy:
    """Read the policy file; without one, make the policy that the options describe.

    Raises
    ------
    PolicyError
        If options stand beside a file: the fingerprint of the file would then not be that of what
        was charged. If the file has no horizon: nothing else gives one here.
    """
    from mcmargin.policies.part_checks import PRODUCTS
    from mcmargin.policies.policy import MarginPolicy

    if charge.policy is not None:
        options = {
            "--level": plan.level,
            "--horizon": plan.horizon,
            "--product-horizon": plan.product_horizon,
        }
        for name, given in options.items():
            if given not in (None, []):
                raise PolicyError(
                    f"{name} and --policy: give one of them, or set it in {charge.policy}"
                )
        policy = MarginPolicy.from_toml(charge.policy)
        if policy.horizon is None:
            raise PolicyError(
                f"{charge.policy}: horizon is missing; give it in bars, such as horizon = 2"
            )
        return policy
    horizons = {}
    for product, count in pairs("--product-horizon", "option=5", plan.product_horizon).items():
        if product not in PRODUCTS:
            choices = ", ".join(PRODUCTS)
            raise PolicyError(f"--product-horizon {product}: unknown; it is one of {choices}")
        if not (count.isascii() and count.isdigit()):
            raise PolicyError(f"--product-horizon {product}: {count!r} is no whole number of bars")
        horizons[product] = int(count)
    return MarginPolicy(
        level=0.99 if plan.level is None else plan.level,
        horizon=2 if plan.horizon is None else plan.horizon,
        horizons=horizons,
    )


def margined(
    model: Path,
    positions: Path,
    book: BookOptions,
    charge: ChargeOptions,
    plan: PlanOptions,
    *,
    account: str | None = None,
    traded: Collection[str] = (),
    every: bool = True,
) -> MarginReport:
    """Run the margin job on a command's options, with progress bars.

    Parameters
    ----------
    account, traded, every
        As of `margin_from_files`.
    """
    from mcmargin.jobs.margin_job import margin_from_files

    policy = margin_policy(charge, plan)
    with bars() as progress:
        return margin_from_files(
            book.with_positions(positions),
            model,
            policy,
            charge.previous,
            paths=plan.paths,
            seed=plan.seed,
            engine=plan.engine,
            precision=plan.precision,
            account=account,
            traded=traded,
            every=every,
            tell=say,
            progress=progress,
        )
