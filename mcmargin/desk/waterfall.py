"""Waterfall: why each account's margin changed between two reports (`mm.attribute`).

`mcmargin.desk.attribution` tells what one margin is made of (`report.attribution`).

In: two reports with one seed and plan; for saved ones, what they were made from. Out: a table by
account of the change, before margins are rounded to a tick, in parts that add up to it. Each part
is the change between two margin runs that differ in one thing alone, in this order:

positions     what was closed: positions, orders and balances that the later report does not have
market        prices, rates, implied volatilities and all else in a market, except its time
volatility    variance of the model's state, asset by asset
parameters    coefficients, innovations, dependence, and which assets there are
data          all else: the time that passed, calendar, history, and the previous reports
policy        what is charged
positions     what was opened, and what more or less is held

Positions change in two steps, so that no instrument is valued on a date on which it does not exist:
an option that has expired is closed on the first date, and a new one is opened on the second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcmargin.audit import fingerprint
from mcmargin.books.book import Book
from mcmargin.checks import require_type
from mcmargin.data.plausibility import LARGEST_LIMIT, UNLIMITED
from mcmargin.data.times import utc_time
from mcmargin.desk.common_book import common_book
from mcmargin.desk.margining import margin
from mcmargin.desk.previous import CHARGES
from mcmargin.desk.restoring import Filed, Sources, read_report, restored, several
from mcmargin.desk.session import Session, session_of
from mcmargin.errors import DataError, PolicyError
from mcmargin.margins.horizons import horizons_needed
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.progress import Progress
from mcmargin.reports.margin_change import CHANGE_PARTS, MarginChange
from mcmargin.reports.margin_report import MarginReport
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.scenarios.simulation import simulate_plan

SAME_PLAN = ("seed", "paths", "precision", "variance_cap", "price_floor")
"""Fields of a plan that must be equal, so that both margins are on the same draws."""


def attribute(
    previous_report: MarginReport | str | os.PathLike[str],
    report: MarginReport | str | os.PathLike[str],
    *,
    model: Any = None,
    book: Any = None,
    market: Any = None,
    previous: Any = None,
    engine: str = "auto",
    progress: Progress | None = None,
) -> MarginChange:
    """Attribute each account's change of margin; see `mcmargin.desk.waterfall`.

    It takes up to six margin runs, and up to three simulations if the model changed. What the
    margin of one report is made of, `report.attribution` tells without any run.

    A report that `margin` made in this process is ready. A saved one is margined again on its own
    seed, from the model and the book that made it, and from its market if that has volatility
    surfaces. They are recognised by their fingerprints, among what is given here and among the
    files beside a report that is given as a path: models (.npz), markets (.toml), other reports
    (.json), and a book under the names of docs/files.md (positions, instruments, accounts, orders,
    balances).

    Parameters
    ----------
    previous_report, report : MarginReport or path of its JSON
        Both must have the same seed, paths and precision.
    model : MarketModel or path, or several of them, optional
    book : Book or path of its positions, or several of them, optional
    market : Market or path, or several of them, optional
    previous : MarginReport or path, or several of them, optional
        The reports that these reports took as their previous ones.
    engine : str
        Engine on which saved reports are simulated again.
    progress : callable, optional
        It is called with how many work items of those simulations are done, and how many there are.

    Returns
    -------
    MarginChange

    Raises
    ------
    DataError
        If something that made a saved report is lacking (one line names all of it), if the plans
        differ, the reports are in the wrong order, or an account changed its currency, and if a
        step cannot be margined: the message names it.

    Examples
    --------
    >>> from mcmargin.data.prices import PriceHistory
    >>> from mcmargin.demo import demo_model, demo_report
    >>> from mcmargin.scenarios.simulation import simulate
    >>> yesterday, model = demo_report(), demo_model()
    >>> closes = pd.DataFrame([[2500.0, 6650.0, 46.0]], ["2018-12-31"], columns=model.assets)
    >>> moved = model.update(PriceHistory.from_frame(closes))
    >>> scenarios = simulate(moved, horizon=2, paths=10_000, seed=7, engine="numpy")
    >>> change = attribute(yesterday, margin(yesterday.session.book, scenarios))
    >>> change.frame[["account", "before", "market", "volatility", "after"]].round()
             account   before  market  volatility    after
    0    diversified  21383.0   243.0      -470.0  21156.0
    1   index spread   8442.0   107.0      -169.0   8379.0
    2  long equities  35415.0   299.0      -809.0  34905.0
    3      short oil  27438.0   517.0      -545.0  27409.0
    """
    sources = Sources(several(model), several(book), several(market), several(previous))
    filed = (_filed("previous_report", previous_report), _filed("report", report))
    made = restored(filed, sources, engine=engine, progress=progress)
    sessions = [session_of(each, "attribute") for each in made]
    _require_comparable(*made)
    first, last = sessions
    codes = _currencies(first.book, last.book)
    start, end = map(_world, sessions)
    known = {
        world.key: each.report.figures.set_index("account")["unrounded"]
        for world, each in zip((start, end), sessions, strict=True)
    }
    frame = pd.DataFrame({"account": list(codes), "currency": list(codes.values())})
    frame["before"] = _by_account(known[start.key], frame)
    frame[list(CHANGE_PARTS)] = 0.0
    margins = frame["before"]
    for part, world in _steps(start, end):
        if world.key not in known:
            known[world.key] = _margins(part, world, sessions)
        moved = _by_account(known[world.key], frame)
        frame[part] += moved - margins
        margins = moved
    frame["after"] = margins
    rates = {code: last.market.worth(code) for code in sorted(set(codes.values()))}
    return MarginChange(frame, first.report.as_of, last.report.as_of, last.market.currency, rates)


def _require_comparable(previous_report: MarginReport, report: MarginReport) -> None:
    """Refuse reports of other plans, and reports in the wrong order."""
    for name in SAME_PLAN:
        before, after = (getattr(each.plan, name) for each in (previous_report, report))
        if before != after:
            raise DataError(f"attribute: {name} was {before} and is {after}; margin with the same")
    if utc_time(previous_report.as_of) > utc_time(report.as_of):
        raise DataError(
            f"attribute: the previous report is of {previous_report.as_of[:19]}, after this one's "
            f"{report.as_of[:19]}"
        )


def _filed(name: str, report: Any) -> Filed:
    if isinstance(report, (str, os.PathLike)):
        return Filed(read_report(report), Path(report))
    require_type(name, report, MarginReport)
    return Filed(report)


@dataclass(frozen=True, eq=False)
class _World:
    """What a margin run is made of, except its seed and plan."""

    book: Book
    model: MarketModel
    market: Market
    policy: MarginPolicy
    previous: MarginReport | None

    @property
    def key(self) -> tuple[Any, ...]:
        """A key that is equal for equal worlds."""
        parts = (self.book, self.model, self.market, self.policy)
        last = () if self.previous is None else (self.previous.as_of, _charges(self.previous))
        return *(part.fingerprint() for part in parts), last


def _charges(report: MarginReport) -> str:
    """Digest of what a buffer and a speed limit start from."""
    frames = (report.figures, "account"), (report.owners, "owner")
    return fingerprint(
        *(
            part
            for frame, key in frames
            for part in (
                tuple(frame[key]),
                tuple(frame["currency"]),
                *(frame[name].to_numpy(float) for name in CHARGES),
            )
        )
    )


def _world(session: Session) -> _World:
    """What a session's report was made of, with prices of any time and size accepted."""
    policy = session.report.policy
    # A policy without a horizon takes the longest one simulated, which differs between plans.
    horizon = policy.horizon or session.report.plan.horizons[-1]
    # Steps in between have prices and a model of different dates.
    policy = replace(policy, horizon=horizon, max_age_days=LARGEST_LIMIT)
    market = replace(session.market, plausibility=UNLIMITED)
    return _World(session.book, session.scenarios.model, market, policy, session.previous)


def _steps(start: _World, end: _World) -> list[tuple[str, _World]]:
    """Worlds on the way to the last one, each with the part that the step to it belongs to."""
    world = replace(start, book=common_book(start.book, end.book))
    steps = [("positions", world)]
    world = replace(world, market=replace(end.market, as_of=start.market.as_of))
    steps.append(("market", world))
    world = replace(world, model=_with_variances(start.model, end.model))
    steps.append(("volatility", world))
    world = replace(world, model=_with_parameters(world.model, start.model, end.model))
    steps.append(("parameters", world))
    world = replace(world, model=end.model, market=end.market, previous=end.previous)
    steps.append(("data", world))
    steps.append(("policy", replace(world, policy=end.policy)))
    return [*steps, ("positions", end)]


def _with_variances(model: MarketModel, other: MarketModel) -> MarketModel:
    """A model with the variances of another model's state, for the assets that both have."""
    now = dict(zip(other.assets, other.state.variance.tolist(), strict=True))
    own = model.state.variance.tolist()
    variance = [now.get(asset, at) for asset, at in zip(model.assets, own, strict=True)]
    if variance == own:
        return model
    return replace(model, state=replace(model.state, variance=np.array(variance)))


def _with_parameters(moved: MarketModel, start: MarketModel, end: MarketModel) -> MarketModel:
    """The later model with the time, calendar and history of the earlier one.

    The history is that of the later model if the assets are not the same.
    """
    if _parameters(start) == _parameters(end):
        return moved
    return replace(
        end,
        committed=replace(end.committed, as_of=start.committed.as_of),
        state=replace(end.state, as_of=start.state.as_of),
        calendar=start.calendar,
        history=start.history if start.assets == end.assets else end.history,
    )


def _parameters(model: MarketModel) -> str:
    """Digest of all that a calibration fits."""
    innovations = ((each.kind, each.parameters) for each in model.innovations)
    fitted = (vars(model.volatility), vars(model.dependence))
    parts = (tuple(value for _, value in sorted(each.items())) for each in fitted)
    return fingerprint(model.assets, model.tables, *innovations, *parts)


def _margins(part: str, world: _World, sessions: Sequence[Session]) -> pd.Series[float]:
    """Margins of one world, before they are rounded."""
    last = sessions[-1]
    try:
        report = margin(
            world.book,
            _scenarios(world, sessions),
            _of_instruments(world.market, world.book),
            world.policy,
            previous=world.previous,
            memory_limit=last.valuations.memory_limit,
            threads=last.valuation.threads,
        )
    except (DataError, PolicyError) as error:
        raise DataError(f"attribute: the step of {part} cannot be margined: {error}") from None
    return report.figures.set_index("account")["unrounded"]


def _of_instruments(market: Market, book: Book) -> Market:
    """The market without the liquidity of instruments that the book does not know."""
    names = {name: terms for name, terms in market.liquidity.items() if name in book.known}
    return market if len(names) == len(market.liquidity) else replace(market, liquidity=names)


def _scenarios(world: _World, sessions: Sequence[Session]) -> Scenarios:
    """A session's scenarios if they are the world's, else new ones on the same draws."""
    policy = world.policy
    needed = {
        *horizons_needed(world.book.instruments, world.model, policy, world.market.as_of),
        *policy.maintenance_horizons_from(1).values(),
    }
    for each in sessions:
        own, made = each.scenarios, each.report.policy
        alike = (policy.procyclicality, policy.stress) == (made.procyclicality, made.stress)
        same = own.model.fingerprint() == world.model.fingerprint()
        if same and alike and needed <= {*own.plan.horizons}:
            return own
    last = sessions[-1]
    horizons = tuple(sorted(needed.union(*(each.scenarios.plan.horizons for each in sessions))))
    return simulate_plan(
        world.model,
        replace(last.scenarios.plan, horizons=horizons),
        policy,
        engine=last.scenarios.engine,
        threads=last.valuation.threads,
    )


def _currencies(first: Book, last: Book) -> dict[str, str]:
    """Currency of every account of either book, sorted by name."""
    codes = {account.name: account.currency for account in first.accounts}
    for account in last.accounts:
        before = codes.setdefault(account.name, account.currency)
        if before != account.currency:
            raise DataError(
                f"attribute: account {account.name!r} was in {before} and is in {account.currency}"
                "; its margins do not compare"
            )
    return dict(sorted(codes.items()))


def _by_account(margins: pd.Series[float], frame: pd.DataFrame) -> pd.Series[float]:
    """Margins in the order of a frame's accounts; 0 for an account that is not there."""
    return margins.reindex(frame["account"], fill_value=0.0).reset_index(drop=True)
