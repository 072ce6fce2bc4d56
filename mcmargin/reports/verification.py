"""verify(): recompute a margin report from its own seed and compare.

In: a report, the model and the book that it names by fingerprint. Out: a verdict: equal bit for
bit, within the bound that holds between engines, or different, with the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.books.collateral import posted_values
from mcmargin.checks import Progress, require_type
from mcmargin.errors import DataError, PolicyError
from mcmargin.margins.margining import margin
from mcmargin.margins.tail import tail_count
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.reports.account_figures import ADDED
from mcmargin.reports.reporting import MarginReport
from mcmargin.scenarios.simulation import simulate, thread_count

ENGINE_BOUND = {"single": 2e-5, "double": 1e-11}
"""Largest difference between engines, as a share of gross exposure."""


@dataclass(frozen=True)
class Verification:
    """Outcome of a recomputation.

    Attributes
    ----------
    verdict : str
        `equal`, `within the engine bound` or `different`.
    largest_difference : float
        Of any account's expected shortfall, as a share of its gross exposure; infinite where
        there is none to compare.
    reasons : tuple of str
        Why it is different.
    """

    verdict: str
    largest_difference: float
    reasons: tuple[str, ...]


def verify(
    report: MarginReport,
    model: MarketModel,
    book: Book,
    market: Market | None = None,
    previous: MarginReport | None = None,
    *,
    engine: str = "auto",
    progress: Progress | None = None,
) -> Verification:
    """Recompute a report and say whether its figures hold.

    Parameters
    ----------
    report : MarginReport
    model : MarketModel
    book : Book
    market : Market, optional
        Where the report's had a volatility surface, which a report only names; otherwise the
        report's own.
    previous : MarginReport, optional
        The last report, where the report's own took one.
    engine : str
        To recompute on; it need not be the report's.
    progress : callable, optional
        Called with work items of the simulation done and in all.

    Returns
    -------
    Verification
        `different`, too, where this model and book give no margin under the report's plan.

    Raises
    ------
    EngineError
        For an engine that is unknown or not here.
    DataError
        If the report needs a market to be given.

    Examples
    --------
    >>> from mcmargin.demo import demo_book, demo_model
    >>> model, book = demo_model(), demo_book()
    >>> made = margin(book, simulate(model, horizon=2, paths=10_000, seed=7))
    >>> filed = MarginReport.from_json(made.to_json())
    >>> verify(filed, model, book).verdict
    'equal'
    >>> verify(filed, model, Book.from_frame(book.to_frame().iloc[1:])).reasons[0]
    "the book's fingerprint differs"
    """
    require_type("report", report, MarginReport)
    require_type("model", model, MarketModel)
    require_type("book", book, Book)
    plan = report.plan
    market = report.market_used() if market is None else market
    require_type("market", market, Market)
    if previous is not None:
        require_type("previous", previous, MarginReport)
    # Asked here, so that a bad setting of this machine is an error and no difference.
    threads = thread_count(None)
    fingerprints = {
        "model": model.fingerprint(),
        "book": book.fingerprint(),
        "market": market.fingerprint(),
        "policy": report.policy.fingerprint(),
    }
    reasons = [
        f"the {name}'s fingerprint differs"
        for name, digest in fingerprints.items()
        if digest != report.fingerprints.get(name)
    ]
    last = "" if previous is None else previous.as_of
    if last != report.previous_as_of:
        given = f"one of {last[:19]}" if last else "none"
        asked = f"one of {report.previous_as_of[:19]}" if report.previous_as_of else "none"
        reasons.append(f"the report took {asked} as the previous report, and {given} is given")
    try:
        scenarios = simulate(
            model,
            horizons=plan.horizons,
            paths=plan.paths,
            seed=plan.seed,
            policy=report.policy,
            engine=engine,
            precision=plan.precision,
            variance_cap=plan.variance_cap,
            price_floor=plan.price_floor,
            threads=threads,
            progress=progress,
        )
        again = margin(book, scenarios, market, report.policy, previous=previous)
    except (DataError, PolicyError) as error:
        return Verification("different", float("inf"), (*reasons, f"no margin from these: {error}"))
    return _compared(again, report, reasons)


def _compared(again: MarginReport, report: MarginReport, reasons: list[str]) -> Verification:
    """Verdict on a report and its recomputation."""
    # What an older file does not hold is not compared.
    unknown = [name for name in ADDED if report.figures[name].isna().all()]
    again, report = (
        replace(each, figures=each.figures.drop(columns=unknown)) for each in (again, report)
    )
    for name, what in (("account", "accounts"), ("owner", "owners"), ("currency", "currencies")):
        if not again.figures[name].equals(report.figures[name]):
            return Verification("different", float("inf"), (*reasons, f"the {what} differ"))
    held = ["account", "instrument", "kind", "quantity"]
    if not again.positions[held].equals(report.positions[held]):
        return Verification("different", float("inf"), (*reasons, "the positions differ"))
    gross = np.maximum(_scale(again), 1e-300)
    bound = ENGINE_BOUND[report.plan.precision]
    apart = _apart(again.figures, report.figures, "expected_shortfall") / gross
    largest = float(apart.max())
    if not largest <= bound:
        reasons.append(f"expected shortfall differs by {largest:.3g} of gross exposure")
    fields = ["as_of", "horizons", "calibration"]
    if report.engine == again.engine:
        # Between engines a path at the bound may fall on either side; on one it may not.
        fields += ["floored_paths", "capped_paths"]
    reasons += [
        f"{field} differs" for field in fields if getattr(again, field) != getattr(report, field)
    ]
    if reasons:
        return Verification("different", largest, tuple(reasons))
    frames = ("figures", "positions", "owners", "haircuts")
    if all(getattr(again, name).equals(getattr(report, name)) for name in frames):
        return Verification("equal", 0.0, ())
    same = again.figures["expected_shortfall"] == report.figures["expected_shortfall"]
    # Of those that risk something: without positions there is nothing to round.
    risky = (again.figures["expected_shortfall"] != 0) | ~same
    if 2 * int((same & risky).sum()) > int(risky.sum()):
        # Rounding would part most accounts: this machine computes as the report's did.
        whose = again.figures["account"][~same]
        named = f"of account {whose.iloc[0]!r}" if len(whose) else "beside expected shortfall"
        return Verification("different", largest, (f"a figure {named} alone differs",))
    # Every figure derives from the losses, so a lone altered one is no rounding.
    for name in again.figures.select_dtypes("number").columns:
        beyond = _apart(again.figures, report.figures, name) > bound * gross
        if beyond.any():
            account = again.figures["account"][int(np.argmax(beyond))]
            return Verification("different", largest, (f"{name} of account {account!r} differs",))
    # Losses that rounding sets apart may change places at VaR: one path of the tail's k.
    one_path = float(1 / tail_count(report.plan.paths, report.policy.level))
    swapped = max(bound, one_path) if report.engine != again.engine else bound
    by_account = dict(zip(again.figures["account"], gross, strict=True))
    room = again.positions["account"].map(by_account).to_numpy(float)
    for name, share in (("exposure", bound), ("contribution", swapped)):
        beyond = _apart(again.positions, report.positions, name) > share * room
        if beyond.any():
            row = again.positions.iloc[int(np.argmax(beyond))]
            what = f"{name} of {row['instrument']!r} of account {row['account']!r} differs"
            return Verification("different", largest, (what,))
    names = ["owner", "netting", "currency", "accounts"]
    if not again.owners[names].equals(report.owners[names]):
        return Verification("different", largest, ("the owners differ",))
    by_owner = pd.Series(gross).groupby(again.figures["owner"].to_numpy()).sum()
    room = again.owners["owner"].map(by_owner).to_numpy(float)
    for name in again.owners.columns.difference(names):
        if (_apart(again.owners, report.owners, name) > bound * room).any():
            return Verification("different", largest, (f"{name} of an owner differs",))
    names = ["asset", "currency", "debit"]
    if not again.haircuts[names].equals(report.haircuts[names]):
        return Verification("different", largest, ("the haircuts differ",))
    scale = again.haircuts["value"].to_numpy(float)
    for name, unit in (("value", scale), ("expected_shortfall", scale), ("haircut", 1.0)):
        if (_apart(again.haircuts, report.haircuts, name) > bound * unit).any():
            return Verification("different", largest, (f"{name} of a haircut differs",))
    return Verification("within the engine bound", largest, ())


def _scale(report: MarginReport) -> NDArray[np.float64]:
    """Gross exposure of each account, and the value of its collateral, moving or not."""
    assert report.session is not None
    moving = report.positions[report.positions["kind"] == "collateral"]
    held = moving["exposure"].abs().groupby(moving["account"]).sum()
    own = report.figures["account"].map(held).fillna(0.0).to_numpy(float)
    posted = posted_values(report.session.book, report.session.valuation.market)
    return np.asarray(report.figures["gross_exposure"].to_numpy(float) + np.maximum(own, posted))


def _apart(again: pd.DataFrame, report: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(np.abs(again[name].to_numpy(float) - report[name].to_numpy(float)))
