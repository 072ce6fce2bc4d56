"""resources(): a default fund that covers the largest stressed losses over margin.

In: a margin report and a stress report of the same book and market. Out: `ResourcesToRisk`: the
fund, and the ratio of margin plus fund to stressed loss against the policy's target.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import pandas as pd

from mcmargin.checks import require_type
from mcmargin.errors import DataError, PolicyError
from mcmargin.names import table_cell, with_borders_of_console
from mcmargin.policies.policy import MarginPolicy
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.stress_report import StressReport


@dataclass(frozen=True, eq=False)
class ResourcesToRisk:
    """Default fund and what it is measured against, in the market's currency.

    Attributes
    ----------
    owners : DataFrame
        One row an owner, the largest excess first: owner, margin, loss (the worst stressed one),
        excess (of loss over margin, 0 or more), covered (whether it counts in the fund's size).
    cover : int
        How many owners the fund covers.
    fund : float
        Sum of their excesses.
    margin, loss : float
        Of the covered owners. An owner that loses in no scenario adds nothing to the loss.
    ratio : float
        (margin + fund) / loss; infinite if nothing is lost.
    target_ratio : float
    currency : str
    """

    owners: pd.DataFrame
    cover: int
    fund: float
    margin: float
    loss: float
    ratio: float
    target_ratio: float
    currency: str

    @property
    def met(self) -> bool:
        """Whether the ratio reaches its target, with room for rounding."""
        return self.ratio >= self.target_ratio * (1.0 - 1e-12)

    @property
    def surplus(self) -> float:
        """How much margin and fund exceed the target; negative if they do not reach it."""
        return self.margin + self.fund - self.target_ratio * self.loss

    def to_frame(self) -> pd.DataFrame:
        """One row an owner, the largest excess first."""
        return self.owners.copy()

    def __str__(self) -> str:
        """Table of the covered owners, and whether the target is met."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title=table_cell(f"Default fund, cover {self.cover}, in {self.currency}"))
        table.add_column("owner")
        for name in ("margin", "stressed loss", "excess"):
            table.add_column(name, justify="right")
        for row in self.owners[self.owners["covered"]].to_dict("records"):
            amounts = (row["margin"], row["loss"], row["excess"])
            table.add_row(table_cell(str(row["owner"])), *(f"{amount:,.2f}" for amount in amounts))
        verdict = "met" if self.met else "not met"
        stream = io.StringIO()
        console = Console(file=stream, width=110, color_system=None, force_terminal=False)
        console.print(table)
        console.print(
            f"Fund {self.fund:,.2f}. Margin and fund over stressed loss: {self.ratio:.4f}; target "
            f"{self.target_ratio:.4f} {verdict} by {abs(self.surplus):,.2f}.",
            highlight=False,
        )
        return with_borders_of_console(stream.getvalue().rstrip())


def resources(
    report: MarginFigures, stress: StressReport, policy: MarginPolicy | None = None
) -> ResourcesToRisk:
    """Size a default fund, and measure margin and fund against stressed loss.

    The fund is the sum of the largest excesses of stressed loss over margin, by owner. Each
    owner's loss is that of its own worst scenario. So the fund is at least what these owners need
    together in any one scenario.

    Parameters
    ----------
    report : MarginFigures
        Such as the `MarginReport` that `margin` makes.
    stress : StressReport
        Of the same book and market.
    policy : MarginPolicy, optional
        It must have a `Resources` part. By default it is the report's own.

    Raises
    ------
    PolicyError
        If the policy declares no resources.
    DataError
        If the reports are of different books or markets.

    References
    ----------
    CPMI-IOSCO, Principles for financial market infrastructures (2012), Principle 4: resources to
    cover the default of the two participants that would cause the largest exposure (cover 2).

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> from mcmargin.policies.policy_parts import Resources
    >>> from mcmargin.policies.stress_parts import Gap, Stress
    >>> from mcmargin.desk.stress_testing import stress
    >>> gaps = Stress(gaps=(Gap("wti", 0.3), Gap("sp500", -0.2)))
    >>> policy = MarginPolicy(stress=gaps, resources=Resources(cover=2))
    >>> report = demo_report()
    >>> lost = stress(report.session.book, report.session.scenarios, policy=policy)
    >>> fund = resources(report, lost, policy)
    >>> round(fund.fund), fund.owners["owner"][fund.owners["covered"]].tolist()
    (81561, ['index spread', 'short oil'])
    """
    require_type("report", report, MarginFigures)
    require_type("stress", stress, StressReport)
    policy = report.policy if policy is None else policy
    require_type("policy", policy, MarginPolicy, error=PolicyError)
    part = policy.resources
    if part is None:
        raise PolicyError("the policy declares no resources; give it a part `resources`")
    for what in ("book", "market"):
        if report.fingerprints.get(what) != stress.fingerprints[what]:
            raise DataError(f"the margin report and the stress report are of different {what}s")
    rates = stress.owners["rate"]
    margins = report.owners.set_index("owner")["margin"].reindex(stress.owners["owner"])
    frame = pd.DataFrame(
        {
            "owner": stress.owners["owner"],
            "margin": margins.to_numpy(float) * rates,
            "loss": stress.owners["loss"] * rates,
        }
    )
    frame["excess"] = (frame["loss"] - frame["margin"]).clip(lower=0.0)
    # Owners without an excess are in the order of how near they come to one.
    order = (frame["margin"] - frame["loss"]).sort_values(kind="stable").index
    frame = frame.loc[order].reset_index(drop=True)
    frame["covered"] = frame.index < part.cover
    covered = frame[frame["covered"]]
    fund, margin = float(covered["excess"].sum()), float(covered["margin"].sum())
    loss = float(covered["loss"].clip(lower=0.0).sum())
    return ResourcesToRisk(
        owners=frame,
        cover=part.cover,
        fund=fund,
        margin=margin,
        loss=loss,
        ratio=(margin + fund) / loss if loss > 0.0 else math.inf,
        target_ratio=part.target_ratio,
        currency=stress.values.market.currency,
    )
