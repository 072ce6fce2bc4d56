"""Attribution of one report: by position, underlying and component, adding up to the margin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.models.history import History
from mcmargin.policies.policy_parts import (
    Collateral,
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
)
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.coin_book import ACCOUNTS, EVEN, FIVE_WORST, ITEMS, POSTED, ROWS, market_of
from tests.helpers.models import scenarios_of_three, three_assets

NO_LIMIT = LeverageTier(float("inf"), 1.0)


@pytest.fixture(scope="module")
def model():
    return three_assets()


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(paths=4000)


def test_a_margin_by_hand():
    """Long 3 at 100 with 1 coin: 48 a coin. Concentration is 10 % of 300 beyond 200, so 10; all of
    the notional is asked for, 300, which is 98 above 192 + 10; liquidity half of 1 % of 300."""
    policy = replace(
        FIVE_WORST,
        liquidity=Liquidity(spread=0.01),
        concentration=Concentration(free_notional=200.0, rate=0.1),
        leverage=Leverage((NO_LIMIT,)),
        tick=7.0,
    )
    report = mm.margin(book_of([("x", "PERP", 3)], ITEMS, [("x", "a0", 1)]), EVEN, policy=policy)
    rows = report.attribution().to_dict("records")
    expected = [
        ("expected_shortfall", "position", "PERP", "a0", 144.0),
        ("collateral", "collateral", "a0", "a0", 48.0),
        ("liquidity", "position", "PERP", "a0", 1.5),
        ("concentration", "account", "", "a0", 10.0),
        ("leverage_minimum", "account", "", "a0", 300.0 - 203.5),
    ]
    columns = ["component", "kind", "instrument", "underlying", "amount"]
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (*names, pytest.approx(amount)) for *names, amount in expected
    ]
    assert report.account("x").unrounded == pytest.approx(300.0)
    assert report.account("x").margin == pytest.approx(301.0)
    by = {name: report.attribution(name) for name in ("position", "underlying", "component")}
    assert by["underlying"].to_dict("records") == [
        {"account": "x", "underlying": "a0", "amount": pytest.approx(300.0)}
    ]
    assert by["position"][["kind", "instrument"]].to_numpy().tolist() == [
        ["position", "PERP"], ["collateral", "a0"], ["account", ""]
    ]  # fmt: skip
    assert by["position"]["amount"].tolist() == pytest.approx([145.5, 48.0, 106.5])
    assert by["component"]["component"].tolist() == [name for name, *_ in expected]


def test_open_orders_belong_to_the_instrument_that_is_ordered():
    """An order to buy 2 adds 96 to the 48 of what is held; short of a hedge, orders alone."""
    orders = [("x", "PERP", 2.0)]
    report = mm.margin(book_of([("x", "S", 1)], ITEMS, orders=orders), EVEN, policy=FIVE_WORST)
    found = report.attribution("component")
    assert found["component"].tolist() == ["expected_shortfall", "open_orders"]
    assert found["amount"].tolist() == pytest.approx([48.0, 96.0])
    found = report.attribution("position")
    assert found[["kind", "instrument", "underlying"]].to_numpy().tolist() == [
        *(["position", "S", "a0"], ["order", "PERP", "a0"])
    ]


def test_several_orders_share_what_they_add(scenarios):
    """Two orders of one risk share by size. Of two risks, each has what the expected shortfall
    grows by while both grow at one pace: the sum over many small steps of each one's own growth,
    by central differences of margins, which no attribution made."""
    rows, orders = [("x", "S", 1.0)], [("x", "PERP", 4.0), ("x", "FUT", 9.0)]
    book = book_of(rows, ITEMS, orders=orders)
    report = mm.margin(book, scenarios, market_of(), FIVE_WORST)
    found = report.attribution().query("component == 'open_orders'").set_index("instrument")
    added = report.account("x").open_orders
    assert found["amount"].sum() == pytest.approx(added, rel=1e-12)

    def shortfall(perpetuals, futures):
        held = [*rows, ("x", "PERP", perpetuals), ("x", "FUT", futures)]
        made = mm.margin(book_of(held, ITEMS), scenarios, market_of(), FIVE_WORST)
        return made.account("x").expected_shortfall

    parts = np.zeros(2)
    for at in (np.arange(20) + 0.5) / 20:
        size = np.array([4.0, 9.0])
        for one in range(2):
            step = np.where(np.arange(2) == one, 0.005, 0.0)
            up, down = (shortfall(*(size * (at + way * step))) for way in (1, -1))
            parts[one] += (up - down) / 0.01 / 20
    assert found.loc[["PERP", "FUT"], "amount"].tolist() == pytest.approx(parts, rel=0.02)
    alone = book_of([], ITEMS, orders=[("x", "PERP", 1.0), ("x", "S", 3.0)])
    even = mm.margin(alone, EVEN, policy=FIVE_WORST)
    shares = even.attribution().query("component == 'open_orders'").set_index("instrument")
    assert shares["amount"].to_dict() == pytest.approx({"PERP": 48.0, "S": 144.0})


def test_the_floor_the_buffer_and_maintenance_are_components(model):
    """A floor's excess over base, a quarter of it as a buffer, and maintenance margin, which a
    level above initial margin's lifts above all."""
    history = History(
        times=model.as_of - np.arange(9, -1, -1) * np.timedelta64(1, "D"),
        returns=np.full((10, 3), 0.05),
        variances=np.full((10, 3), 4e-4),
    )
    policy = mm.MarginPolicy(
        level=0.95,
        procyclicality=Procyclicality(floor_years=1.0, buffer=0.25),
        maintenance=Maintenance(level=0.999),
    )
    scenarios = mm.simulate(
        replace(model, history=history), horizons=(1, 2), paths=4000, seed=11, policy=policy
    )
    report = mm.margin(
        book_of(ROWS, ITEMS, POSTED, accounts=ACCOUNTS), scenarios, market_of(), policy
    )
    for figures in report.figures.to_dict("records"):
        own = report.attribution("component").query(f"account == '{figures['account']}'")
        found = dict(zip(own["component"], own["amount"], strict=True))
        assert found["floor"] == pytest.approx(figures["floor"] - figures["base"])
        assert found["procyclicality"] == pytest.approx(0.25 * figures["floor"])
        assert found["maintenance"] == pytest.approx(figures["maintenance"] - figures["total"])
        assert sum(found.values()) == pytest.approx(figures["margin"], rel=1e-12)


rows = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from([item.name for item in ITEMS]),
              st.floats(-9, 9)),
    min_size=1, max_size=9, unique_by=lambda row: row[:2],
)  # fmt: skip


@given(rows, st.sampled_from(["cross", "isolated"]), st.sampled_from(["joint", "haircut"]),
       st.sampled_from([0.0, 0.5]), st.booleans())  # fmt: skip
@settings(max_examples=30, deadline=None, derandomize=True)
def test_amounts_add_up(scenarios, held, mode, counted, tick, orders):
    """To 1e-12 of gross exposure and moving collateral, whatever the policy charges."""
    policy = mm.MarginPolicy(
        short_option_minimum=0.05,
        maintenance=Maintenance(level=0.97, horizon=1),
        liquidity=Liquidity(spread=0.001, participation=0.01),
        concentration=Concentration(free_notional=200.0, rate=0.1),
        leverage=Leverage((LeverageTier(300.0, 20.0), LeverageTier(float("inf"), 4.0))),
        collateral=Collateral(counted),
        stress=Stress(gaps=(Gap("a0", -0.4), Gap("a0", 0.4)), scenario_weight=0.3),
        tick=tick,
    )
    items = [replace(ITEMS[0], stressed_funding_rate=1e-3), *ITEMS[1:]]
    liquid = {item.name: InstrumentLiquidity(daily_volume=100.0) for item in items}
    names = sorted({row[0] for row in held})
    own = [mm.Account(name, "EUR" if name == "y" else "USD", mode=mode) for name in names]
    posted = [(name, "a0", 0.5) for name in names]
    ordered = [(names[0], "PERP", 3.0), (names[0], "S", -1.0)]
    book = book_of(held, items, posted, accounts=own, orders=ordered if orders else None)
    report = mm.margin(book, scenarios, market_of(liquidity=liquid), policy)
    scale = report.figures["gross_exposure"].to_numpy() + 100.0
    for by in (None, "position", "underlying", "component"):
        total = report.attribution(by).groupby("account")["amount"].sum()
        apart = (
            total.reindex(names, fill_value=0.0).to_numpy() - report.figures["unrounded"].to_numpy()
        )
        assert (np.abs(apart) <= 1e-12 * scale).all(), by
    margins = report.figures[["unrounded", "margin"]].to_numpy()
    assert (margins[:, 1] >= margins[:, 0] * (1 - 1e-12)).all()
    assert (margins[:, 1] - margins[:, 0] <= tick + 1e-9).all()


def test_what_cannot_be_attributed():
    report = mm.margin(book_of([("x", "PERP", 1)], ITEMS), EVEN, policy=FIVE_WORST)
    with pytest.raises(mm.DataError, match="attribution by 'asset' is unknown"):
        report.attribution("asset")
    with pytest.raises(mm.DataError, match="needs the scenarios"):
        mm.MarginReport.from_json(report.to_json()).attribution()
