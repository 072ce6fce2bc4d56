"""verify(): recompute a margin report from its own seed and compare.

In: a report, and the model and the book whose fingerprints it holds. Out: a verdict: equal bit for
bit, within the bound that holds between engines, or different, with the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mcmargin.books.book import Book
from mcmargin.checks import cited, require_type
from mcmargin.desk.margining import margin
from mcmargin.desk.session import session_of
from mcmargin.engines.choice import thread_count
from mcmargin.errors import DataError, PolicyError
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.numerics.tail import tail_count
from mcmargin.progress import Progress
from mcmargin.reports.account_figures import ADDED
from mcmargin.reports.margin_figures import MarginFigures
from mcmargin.reports.margin_report import MarginReport
from mcmargin.reports.report_checksum import is_altered
from mcmargin.scenarios.simulation import simulate_plan

ENGINE_BOUND = {"single": 2e-5, "double": 1e-11}
"""Largest difference between engines, as a share of gross exposure."""

TABLES = {
    "figures": "account {account!r}",
    "positions": "{instrument!r} of account {account!r}",
    "owners": "owner {owner!r}",
    "haircuts": "the haircut of {asset!r} in {currency}",
}
"""Tables of a report, and what a row of each is called."""

MACHINE = ("engine", "versions")
"""Fields that tell how a report was made."""

COUNTED = ("floored_paths", "capped_paths", "limited_paths")
"""Counts of paths at a bound. A path at the bound may count on one engine, and not on another."""

COUNTS_APART = 1e-3
"""Share of the paths by which these counts may differ between engines."""


@dataclass(frozen=True)
class Verification:
    """Outcome of a recomputation.

    Attributes
    ----------
    verdict : str
        `equal`, `within the engine bound` or `different`.
    largest_difference : float
        Largest difference of an account's expected shortfall, as a share of its gross exposure;
        infinite if nothing could be compared.
    reasons : tuple of str
        Why the report is different.
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
        The report has its own market, except for volatility surfaces: of these it has only the
        fingerprints, and then the market must be given.
    previous : MarginReport, optional
        The previous report, if the report took one.
    engine : str
        Engine to recompute on; the report may have been made on another.
    progress : callable, optional
        It is called with how many work items of the simulation are done, and how many there are.

    Returns
    -------
    Verification
        It is `different`, too, if this model and book give no margin under the report's plan.

    Raises
    ------
    EngineError
        If the engine is unknown, or not available here.
    DataError
        If the report needs a market, and none is given.

    Examples
    --------
    >>> from mcmargin.demo import demo_book, demo_model
    >>> from mcmargin.scenarios.simulation import simulate
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
    reasons = _origin_differences(report, model, book, market, previous)
    try:
        scenarios = simulate_plan(
            model, plan, report.policy, engine=engine, threads=threads, progress=progress
        )
        again = margin(book, scenarios, market, report.policy, previous=previous)
    except (DataError, PolicyError) as error:
        return Verification("different", float("inf"), (*reasons, f"no margin from these: {error}"))
    found = _compared(again, report, reasons)
    if found.verdict == "different" or not is_altered(report):
        return found
    # Nothing that was altered changes a figure.
    altered = ("checksum differs: the report was altered after it was written",)
    return Verification("different", found.largest_difference, (*found.reasons, *altered))


def _origin_differences(
    report: MarginReport,
    model: MarketModel,
    book: Book,
    market: Market,
    previous: MarginReport | None,
) -> list[str]:
    """What is given and is not what the report was made from, a reason each."""
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
    reasons += [
        f"fingerprints.{name} is unknown"
        for name in sorted(set(report.fingerprints) - set(fingerprints))
    ]
    last = "" if previous is None else previous.as_of
    if last != report.previous_as_of:
        given = f"one of {last[:19]}" if last else "none"
        asked = f"one of {report.previous_as_of[:19]}" if report.previous_as_of else "none"
        reasons.append(f"the report took {asked} as the previous report, and {given} is given")
    return reasons


def _compared(again: MarginReport, report: MarginReport, reasons: list[str]) -> Verification:
    """Verdict on a report and its recomputation."""
    again, report = _common_columns(again, report)
    reasons = [*reasons, *_header_differences(again, report)]
    if unlike := _row_difference(again, report):
        return Verification("different", float("inf"), (*reasons, unlike))
    gross = np.maximum(_scale(again), 1e-300)
    bound = ENGINE_BOUND[report.plan.precision]
    apart = _distances(again.figures, report.figures, "expected_shortfall") / gross
    largest = float(apart.max(initial=0.0))
    if not largest <= bound:
        account = again.figures["account"].iloc[int(np.argmax(~(apart <= bound)))]
        reasons.append(
            f"expected_shortfall of account {account!r} differs; the largest difference of all is "
            f"{largest:.3g} of gross exposure"
        )
    for frame, row in TABLES.items():
        reasons += _text_differences(getattr(again, frame), getattr(report, frame), frame, row)
    if reasons:
        return Verification("different", largest, tuple(reasons))
    return _by_rounding(again, report, largest, gross, bound)


def _row_difference(again: MarginReport, report: MarginReport) -> str:
    """Why the rows of two reports are not the same accounts and positions; empty if they are."""
    for name, what in (("account", "accounts"), ("owner", "owners"), ("currency", "currencies")):
        if not again.figures[name].equals(report.figures[name]):
            return f"the {what} differ"
    held = ["account", "instrument", "kind", "quantity"]
    mine, theirs = (each.positions[held].astype({"quantity": object}) for each in (again, report))
    for said in _text_differences(mine, theirs, "positions", TABLES["positions"]):
        return f"the positions differ: {said}"
    return ""


def _by_rounding(
    again: MarginReport,
    report: MarginReport,
    largest: float,
    gross: NDArray[np.float64],
    bound: float,
) -> Verification:
    """Verdict where losses are within the engine bound: whether rounding explains all else."""
    exact = next(_figure_differences(again, report, dict.fromkeys(TABLES, lambda name: 0.0)), None)
    made = tuple(
        f"{place}: the report says {cited(there)}, and here it is {cited(here)}; that the report "
        "was made with it cannot be shown"
        for place, here, there in _versions(again, report)
    )
    if exact is None and report.engine == again.engine:
        return Verification("within the engine bound" if made else "equal", 0.0, made)
    losses, others = (
        each.figures["expected_shortfall"].to_numpy(float) for each in (again, report)
    )
    same = losses == others
    # An account without positions has nothing to round.
    risky = (losses != 0) | ~same
    if 2 * int((same & risky).sum()) > int(risky.sum()):
        # Rounding would change most accounts, so that this machine computes as the report's did.
        what = f"{exact}, alone of all figures"
        if exact is None:
            what = f"engine differs: {report.engine!r}, and the figures are {again.engine}'s"
        return Verification("different", largest, (what,))
    # Every figure follows from the losses: rounding never changes one alone.
    for beyond in _figure_differences(again, report, _rounding_bounds(again, report, gross, bound)):
        return Verification("different", largest, (beyond,))
    return Verification("within the engine bound", largest, made)


def _versions(again: MarginReport, report: MarginReport) -> Iterator[tuple[str, Any, Any]]:
    """Versions that differ; a recomputation cannot tell which ones a report was made with."""
    here, there = again.versions, report.versions
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            yield f"versions.{name}", here.get(name), there.get(name)


def _header_differences(again: MarginReport, report: MarginReport) -> list[str]:
    """Fields beside the tables that differ in the recomputation, each by its name."""
    found = []
    for name in (each.name for each in fields(MarginFigures)):
        if name in (*TABLES, *MACHINE, "fingerprints", "checksum"):
            continue
        here, there = (dict(_leaves(name, getattr(each, name))) for each in (again, report))
        for place in sorted(here.keys() | there.keys()):
            mine, theirs = here.get(place), there.get(place)
            if mine == theirs and type(mine) is type(theirs):
                continue
            if (
                name in COUNTED
                and report.engine != again.engine
                and _counts_near(mine, theirs, report)
            ):
                continue
            told = f"the report says {cited(theirs)}, and the recomputation {cited(mine)}"
            found.append(f"{place} differs: {told}")
    return found


def _counts_near(mine: Any, theirs: Any, report: MarginReport) -> bool:
    """Whether two counts of paths are as near as those of two engines."""
    # An asset without such paths is not listed.
    mine, theirs = (0 if count is None else count for count in (mine, theirs))
    counts = isinstance(mine, int) and isinstance(theirs, int)
    return counts and abs(mine - theirs) <= COUNTS_APART * report.plan.paths


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Plain values within a field, each with its path; an empty table or list is a value too."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves(f"{name}.{key}", entry)
    elif isinstance(value, (list, tuple)) and len(value):
        for at, entry in enumerate(value):
            yield from _leaves(f"{name}[{at}]", entry)
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def _text_differences(again: pd.DataFrame, report: pd.DataFrame, table: str, row: str) -> list[str]:
    """The first column of names or counts, not of decimals, that differs; none if all are alike."""
    if list(again.columns) != list(report.columns) or len(again) != len(report):
        return [f"the {table} differ in their number or their columns"]
    for name in again.columns:
        mine, theirs = again[name], report[name]
        if mine.dtype.kind == "f" and theirs.dtype.kind == "f":
            continue
        apart = mine.astype(object).to_numpy() != theirs.astype(object).to_numpy()
        for at in np.flatnonzero(apart)[:1].tolist():
            told = f"the report says {cited(theirs.iloc[at])}, and the recomputation"
            called = row.format(**again.iloc[at])
            return [f"{name} of {called} differs: {told} {cited(mine.iloc[at])}"]
    return []


def _figure_differences(
    again: MarginReport, report: MarginReport, bounds: Mapping[str, Any]
) -> Iterator[str]:
    """Figures that differ by more than they may, the first of every column.

    `bounds` has for each table a function of a column's name, which tells how far rows may differ.
    """
    for table, row in TABLES.items():
        mine, theirs = getattr(again, table), getattr(report, table)
        for name in mine.select_dtypes("float").columns:
            here, there = mine[name].to_numpy(float), theirs[name].to_numpy(float)
            # An unknown figure, such as an equity, must be unknown in both.
            apart = np.where(np.isnan(here) & np.isnan(there), 0.0, np.abs(here - there))
            for at in np.flatnonzero(~(apart <= bounds[table](name)))[:1].tolist():
                yield f"{name} of {row.format(**mine.iloc[at])} differs"


def _rounding_bounds(
    again: MarginReport, report: MarginReport, gross: NDArray[np.float64], bound: float
) -> dict[str, Callable[[str], Any]]:
    """How far the figures of each table may differ by rounding; all of them are amounts."""
    # Rounding may change the order of losses at VaR: one path of the tail's k is then another.
    one_path = float(1 / tail_count(report.plan.paths, report.policy.level))
    swapped = max(bound, one_path) if report.engine != again.engine else bound
    by_account = dict(zip(again.figures["account"], gross, strict=True))
    positions = again.positions["account"].map(by_account).to_numpy(float)
    by_owner = pd.Series(gross).groupby(again.figures["owner"].to_numpy()).sum()
    owners = again.owners["owner"].map(by_owner).to_numpy(float)
    values = again.haircuts["value"].to_numpy(float)
    own: Mapping[str, Any] = {"haircut": 1.0, "haircut_error": 1.0, "quantity": 0.0}
    return {
        # Errors of VaR depend on which paths are in the tail.
        "figures": lambda name: (swapped if name.startswith("value_at_risk_") else bound) * gross,
        "positions": lambda name: (
            (swapped if name == "contribution" else bound) * own.get(name, positions)
        ),
        "owners": lambda name: bound * owners,
        "haircuts": lambda name: bound * own.get(name, values),
    }


def _common_columns(again: MarginReport, report: MarginReport) -> tuple[MarginReport, ...]:
    """Both reports without the columns that a file of an older version does not hold."""
    for table, added in (("figures", "accounts"), ("owners", "owners"), ("haircuts", "haircuts")):
        held = getattr(report, table)
        unknown = [name for name in ADDED[added] if held[name].isna().all()]
        again, report = (
            replace(each, **{table: getattr(each, table).drop(columns=unknown)})
            for each in (again, report)
        )
    return again, report


def _scale(report: MarginReport) -> NDArray[np.float64]:
    """Gross exposure of each account, and the value of all of its collateral."""
    session = session_of(report, "verify")
    moving = report.positions[report.positions["kind"] == "collateral"]
    held = moving["exposure"].abs().groupby(moving["account"]).sum()
    own = report.figures["account"].map(held).fillna(0.0).to_numpy(float)
    posted = session.resolved.posted.gross_values(session.market)
    return np.asarray(report.figures["gross_exposure"].to_numpy(float) + np.maximum(own, posted))


def _distances(again: pd.DataFrame, report: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(np.abs(again[name].to_numpy(float) - report[name].to_numpy(float)))
