"""stress(): what every account and owner loses in a policy's stress scenarios.

In: a `Book`, `Scenarios` (their model has the history; their paths are not used), a `Market` and a
policy with a `Stress` part. Out: a `StressReport`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mcmargin.books.book import Book
from mcmargin.books.resolved import resolve
from mcmargin.checks import require_type
from mcmargin.draws.plan import SimulationPlan
from mcmargin.engines.choice import library_versions
from mcmargin.errors import PolicyError
from mcmargin.markets.market import Market
from mcmargin.markets.model_prices import market_of_model
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy
from mcmargin.reports.stress_report import StressReport
from mcmargin.scenarios.scenarios import Scenarios
from mcmargin.stresses.stress_losses import StressValues, stress_losses, stress_values
from mcmargin.valuing.outlooks import Outlooks


def stress(
    book: Book,
    scenarios: Scenarios,
    market: Market | None = None,
    policy: MarginPolicy | None = None,
) -> StressReport:
    """Losses of every account and owner in a policy's stress scenarios.

    Open orders are left out. Collateral is included if it counts jointly with the positions. An
    owner's loss is the loss of all of its accounts together in one scenario, netted or not.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios
    market : Market, optional
        Prices to value at, in place of the model's latest.
    policy : MarginPolicy
        It must have a `Stress` part.

    Returns
    -------
    StressReport

    Raises
    ------
    DataError
        As `margin`, if the model or the market cannot value the book.
    PolicyError
        If the policy has no stress scenarios, or if the model or the market cannot give one.

    Examples
    --------
    >>> from mcmargin.demo import demo_report
    >>> from mcmargin.policies.stress_parts import Gap, Stress
    >>> gaps = Stress(gaps=(Gap("wti", 0.3), Gap("sp500", -0.2)))
    >>> session = demo_report().session
    >>> found = stress(session.book, session.scenarios, policy=MarginPolicy(stress=gaps))
    >>> found.accounts[["account", "scenario", "loss"]].round(2)
             account        scenario      loss
    0    diversified  gap sp500 -20 %  29828.88
    1   index spread  gap sp500 -20 %  49714.80
    2  long equities  gap sp500 -20 %  49714.80
    3      short oil   gap wti +30 %  67725.00
    """
    require_type("book", book, Book)
    require_type("scenarios", scenarios, Scenarios)
    plan, engine = scenarios.plan, scenarios.engine
    return stress_of_model(
        book, scenarios.model, market, policy, plan.variance_cap, plan.price_floor, engine
    )


def stress_of_model(
    book: Book,
    model: MarketModel,
    market: Market | None = None,
    policy: MarginPolicy | None = None,
    variance_cap: float = SimulationPlan.variance_cap,
    price_floor: float = SimulationPlan.price_floor,
    engine: str = "numpy",
) -> StressReport:
    """Losses of every account and owner, without scenarios; see `stress`.

    Parameters
    ----------
    book : Book
    model : MarketModel
        Whose history has the windows, and whose state they start from.
    market : Market, optional
    policy : MarginPolicy
    variance_cap, price_floor : float
        Of the scenarios that the losses stand beside; see `SimulationPlan`.
    engine : str
        Engine that the report names among its versions.
    """
    market = market_of_model(model) if market is None else market
    require_type("market", market, Market)
    if policy is not None:
        require_type("policy", policy, MarginPolicy, error=PolicyError)
    part = None if policy is None else policy.stress
    if policy is None or part is None:
        raise PolicyError("the policy declares no stress; give it a part `stress`")
    resolved = resolve(book, model, market, policy)
    outlooks = Outlooks(model, variance_cap)
    values = stress_values(part, resolved.instruments, market, outlooks, price_floor)
    if not values.sets:
        raise PolicyError("the policy's stress has no scenario; give a window, grid, gap or depeg")
    currencies = [account.currency for account in book.accounts]
    quantities = resolved.quantities
    table = stress_losses(quantities, currencies, values)
    return StressReport(
        accounts=pd.DataFrame(
            {
                "account": [account.name for account in book.accounts],
                "owner": [account.owner for account in book.accounts],
                "currency": currencies,
                "scenario": table.worst_names(),
                "loss": table.worst,
            }
        ),
        owners=_owners(book, quantities, values),
        table=table,
        values=values,
        quantities=quantities,
        policy=policy,
        as_of=str(model.as_of),
        market_as_of=str(market.as_of),
        fingerprints={
            "model": model.fingerprint(),
            "book": book.fingerprint(),
            "market": market.fingerprint(),
            "policy": policy.fingerprint(),
        },
        versions=library_versions(engine),
    )


def _owners(book: Book, quantities: sparse.csr_array, values: StressValues) -> pd.DataFrame:
    """One row an owner, in its accounts' currency; if they have several, in the market's."""
    market = values.market
    names = sorted({account.owner for account in book.accounts})
    places = {name: at for at, name in enumerate(names)}
    rows = [places[account.owner] for account in book.accounts]
    codes: list[set[str]] = [set() for _ in names]
    for row, account in zip(rows, book.accounts, strict=True):
        codes[row].add(account.currency)
    currencies = [own.pop() if len(own) == 1 else market.currency for own in codes]
    shape = len(names), len(rows)
    ones: Any = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape)
    table = stress_losses((ones @ quantities).tocsr(), currencies, values)
    return pd.DataFrame(
        {
            "owner": names,
            "currency": currencies,
            "rate": [market.worth(code) for code in currencies],
            "scenario": table.worst_names(),
            "loss": table.worst,
        }
    )
