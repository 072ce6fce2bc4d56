"""Parts of a margin, in words and as one picture.

In: a row of a report's figures, and the positions of its account. Out: parts that add up to the
margin, in the order of the formula, and the bars of a picture of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mcmargin.margins.operations import added_by_steps
from mcmargin.policies.formula import FORMULA
from mcmargin.policies.policy import MarginPolicy

Share: TypeAlias = tuple[str, float]
"""Name and contribution of a position."""

ORDERS_AND_MINIMUM = (
    "what the worst fills of open orders add, and what is added to reach the minimum "
    "of short options, or to 0"
)
"""Why base is more than the expected shortfall of the positions."""

POSITIONS = 6
"""Number of positions that a picture shows one by one; all others share one bar."""


@dataclass(frozen=True)
class Part:
    """A part of a margin.

    Attributes
    ----------
    name : str
    amount : float, or ndarray of shape (accounts,)
        Negative if the part lowers the margin.
    reason : str
    """

    name: str
    amount: Any
    reason: str


@dataclass(frozen=True)
class ChartBar:
    """A part of a margin, as a bar of a chart.

    Attributes
    ----------
    name : str
    amount : float
    start, width : float
        Of the bar, in per cent of the width of the picture.
    """

    name: str
    amount: float
    start: float
    width: float


def parts_of(row: Mapping[Any, Any], policy: MarginPolicy) -> tuple[Part, ...]:
    """Parts of a margin, in the order of the formula.

    Their amounts add up to the margin; a part that changes nothing has the amount 0.

    Parameters
    ----------
    row : mapping of str to float, or to ndarray
        Figures of a report: of one account, or columns of many.
    policy : MarginPolicy

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> report = demo_report()
    >>> row = report.figures.to_dict("records")[0]
    >>> parts = parts_of(row, report.policy)
    >>> parts[0].name, round(parts[0].amount) == round(row["margin"])
    ('expected shortfall', True)
    """
    added = added_by_steps(row, policy.tick)
    first, *others = FORMULA
    shortfall = row["expected_shortfall"]
    return (
        Part(first.words.label, shortfall, first.words.reason(policy)),
        Part("open orders, minimum", added[first.name] - shortfall, ORDERS_AND_MINIMUM),
        *(Part(each.words.label, added[each.name], each.words.reason(policy)) for each in others),
    )


def visible(parts: Sequence[Part], scale: float) -> list[Part]:
    """Parts that are more than a hundred-thousandth of the whole."""
    return [part for part in parts if abs(part.amount) > 1e-5 * abs(scale)]


def chart_bars(amounts: Sequence[Share], total: float, name: str = "margin") -> list[ChartBar]:
    """Bars of amounts, each of which starts where the last one ended, and a bar of their sum.

    Examples
    --------
    >>> steps = chart_bars([("long", 30.0), ("hedge", -20.0)], 10.0)
    >>> [(step.name, round(step.start), round(step.width)) for step in steps]
    [('long', 0, 100), ('hedge', 33, 67), ('margin', 0, 33)]
    """
    sizes = np.array([amount for _, amount in amounts], float)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    low = min(0.0, float(ends.min(initial=0.0)))
    reach = max(float(ends.max(initial=0.0)), total) - low or 1.0
    steps = [
        ChartBar(part, amount, 100.0 * (min(start, end) - low) / reach, 100.0 * abs(amount) / reach)
        for (part, amount), start, end in zip(amounts, starts, ends, strict=True)
    ]
    start, width = 100.0 * (min(0.0, total) - low) / reach, 100.0 * abs(total) / reach
    return [*steps, ChartBar(name, total, start, width)]


def picture_of(
    row: Mapping[Any, Any], parts: Sequence[Part], shares: Sequence[Share]
) -> list[ChartBar]:
    """Picture of an account's margin: expected shortfall by position, then all other parts.

    Parameters
    ----------
    row : mapping
        Figures of the account.
    parts : sequence of Part
        Of its margin, expected shortfall first.
    shares : sequence of (str, float)
        Positions, and balances that move with them, with their contributions.
    """
    scale = row["margin"] or row["expected_shortfall"]
    first, *others = parts
    amounts = _largest(shares) if len(shares) > 1 else [(first.name, first.amount)]
    amounts += [(part.name, part.amount) for part in visible(others, scale)]
    return chart_bars(amounts, row["margin"])


def shares_of(positions: pd.DataFrame, accounts: Collection[str]) -> dict[str, list[Share]]:
    """Names and contributions of the positions of some accounts, by account."""
    own = positions[positions["account"].isin(accounts)]
    # A balance has the name of its asset, and so may a position.
    posted = np.where(own["kind"] == "collateral", " (collateral)", "")
    names = own["instrument"].to_numpy(object) + posted.astype(object)
    found: dict[str, list[Share]] = {}
    for account, name, amount in zip(
        own["account"], names.tolist(), own["contribution"].tolist(), strict=True
    ):
        found.setdefault(account, []).append((name, amount))
    return found


def _largest(shares: Sequence[Share]) -> list[Share]:
    """The positions with the largest shares, and all others together."""
    ordered = sorted(shares, key=lambda share: -abs(share[1]))
    if len(ordered) <= POSITIONS:
        return ordered
    rest = ordered[POSITIONS - 1 :]
    return [*ordered[: POSITIONS - 1], (f"{len(rest)} others", sum(each for _, each in rest))]
