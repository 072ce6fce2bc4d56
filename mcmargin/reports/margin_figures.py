"""MarginFigures: the frozen fields of a margin report, and plain access to them.

In: tables of figures by account, position and owner, and the audit trail. Out: a value that every
renderer takes, and that a file and a pickle hold whole. `MarginReport` adds what a user asks of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from mcmargin.checks import few, plain_time
from mcmargin.data.times import utc_time
from mcmargin.draws.plan import SimulationPlan
from mcmargin.errors import DataError
from mcmargin.markets.market import Market
from mcmargin.markets.market_terms import market_of
from mcmargin.models.model import CalibrationNotes
from mcmargin.policies.policy import MarginPolicy
from mcmargin.reports.account_figures import AccountMargin, account_of, account_rows


@dataclass(frozen=True, eq=False, repr=False)
class MarginFigures:
    """Margins of all accounts, with what is needed to compute them again.

    Attributes
    ----------
    figures : DataFrame
        One row an account: the fields of `AccountMargin`, without its contributions.
    positions : DataFrame
        One row a position: account, instrument, kind, quantity, exposure, contribution. A balance
        that moves with the positions has a row too, of kind `collateral`.
    owners : DataFrame
        One row an owner: the fields of `OwnerMargin`.
    haircuts : DataFrame
        One row an asset, currency of accounts and side: the fields of `Haircut`. It has rows only
        in haircut mode.
    policy : MarginPolicy
    plan : SimulationPlan
    horizons : dict of str to int
        Close-out horizon of each product class, in bars.
    engine : str
        The engine that simulated the paths: `numpy` or `cupy`.
    as_of, market_as_of, previous_as_of : str
        Times of the model's state, of the prices used, and of the previous report's state; the
        last is empty where there was no previous report.
    market : dict
        Prices and rates used. A volatility surface is there by its fingerprint only.
    fingerprints : dict
        Of model, book, market and policy.
    calibration : CalibrationNotes
        Which dates were joined and lost, the updates since, and which fits were replaced.
    floored_paths, capped_paths : int
    limited_paths : dict of str to dict of str to int
        How many paths of each asset were `floored`, and how many `capped`. Paths of a policy's
        other scenarios, such as those of its floor, stand under `floored in floor`. An asset
        without such paths is left out.
    versions : dict
        Of the libraries that a figure may depend on.
    checksum : str
        Of a report that was read from a file: a digest of all that it said when it was written.
        `verify`, and what takes a report as the previous one, compare the report with it.
    """

    figures: pd.DataFrame
    positions: pd.DataFrame
    owners: pd.DataFrame
    haircuts: pd.DataFrame
    policy: MarginPolicy
    plan: SimulationPlan
    horizons: dict[str, int]
    engine: str
    as_of: str
    market_as_of: str
    previous_as_of: str
    market: dict[str, Any]
    fingerprints: dict[str, str]
    calibration: CalibrationNotes
    floored_paths: int
    capped_paths: int
    limited_paths: dict[str, dict[str, int]]
    versions: dict[str, str]
    checksum: str = ""

    @cached_property
    def accounts(self) -> tuple[AccountMargin, ...]:
        """The figures, an object an account."""
        return tuple(map(account_of, account_rows(self.figures, self.positions)))

    def account(self, name: str) -> AccountMargin:
        """Figures of one account.

        Raises
        ------
        DataError
            If the report has no such account.
        """
        rows = self.figures[self.figures["account"] == name]
        if len(rows) == 0:
            raise self.no_account(name)
        own = self.positions[self.positions["account"] == name]
        return account_of(next(account_rows(rows, own)))

    def no_account(self, name: object) -> DataError:
        """An error that says which accounts there are."""
        names = few(self.figures["account"])
        return DataError(f"the report has no account {name!r}; it has {names}")

    def to_frame(self) -> pd.DataFrame:
        """One row an account; an interval has a low and a high column."""
        return self.figures.copy()

    def contributions_frame(self) -> pd.DataFrame:
        """One row a position, and one a balance that moves with them; see `positions`."""
        return self.positions.copy()

    def market_used(self) -> Market:
        """The market that instruments were valued at.

        Raises
        ------
        DataError
            If the report holds no usable market, or if the market has a volatility surface: the
            report has only its fingerprint.
        """
        try:
            as_of = utc_time(self.market_as_of)
        except ValueError as error:
            raise DataError(f"market_as_of: {error}") from None
        return market_of(as_of, self.market)

    def market_without_surfaces(self) -> Market:
        """The market used, without its volatility surfaces.

        Raises
        ------
        DataError
            If the report holds no usable market.
        """
        terms, levels = self.market, self.market.get("volatility")
        if isinstance(levels, dict):
            numbers = {name: level for name, level in levels.items() if not isinstance(level, str)}
            terms = terms | {"volatility": numbers}
        return replace(self, market=terms).market_used()

    def __repr__(self) -> str:
        return (
            f"<MarginReport of {few(self.figures['account'])}: "
            f"{100 * self.policy.level:.10g} %, prices of {plain_time(self.market_as_of)}, "
            f"{self.plan.paths:,} paths, seed {self.plan.seed}>"
        )
