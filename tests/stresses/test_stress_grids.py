"""Exchanges' grids: the points that they publish, and books on them by hand and by QuantLib."""

from collections import Counter

import numpy as np
import pytest
import QuantLib as ql

import mcmargin as mm
from mcmargin.policies.stress_parts import GRIDS, GridTerms, Stress
from mcmargin.stresses.stress_grids import GridPoint, stress_grid
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0, "a2": 10.0},
    volatility={"a0": 0.7, "a1": 0.5},
    plausibility=mm.Plausibility(move=1, forward_difference=9),  # the model closed at 100
)


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(make_model(("garch",) * 3), horizon=1, paths=1000, seed=1)


def stressed(rows, items, scenarios, market=MARKET, **terms):
    book = book_of(rows, items)
    return mm.stress(book, scenarios, market, mm.MarginPolicy(stress=Stress(**terms)))


def losses_of(report, account, name):
    frame = report.scenarios_of(account)
    return frame[frame["set"] == name].set_index("scenario")["loss"]


def test_deribit_has_the_points_that_it_publishes():
    """+-16 % in 9 even buckets, each with volatility up, same, down; 8 extended, volatility up."""
    points = stress_grid("deribit").points
    regular = [-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16]
    assert Counter(round(p.price, 12) for p in points[:27]) == dict.fromkeys(regular, 3)
    assert {p.volatility for p in points[:27]} == {0.38, 0.0, -0.38}
    assert len(set(points)) == 35
    extended = [-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [p.price for p in points[27:]] == extended
    assert {p.volatility for p in points[27:]} == {0.38}


@pytest.mark.parametrize(
    ("name", "moves", "extreme", "basis"),
    [
        ("okx-major", (0.04, 0.08, 0.12), 0.24, 0.05),
        ("okx-mid", (0.06, 0.12, 0.18), 0.36, 0.15),
        ("okx-other", (0.08, 0.16, 0.25), 0.50, 0.30),
    ],
)
def test_okx_has_the_moves_that_it_publishes(name, moves, extreme, basis):
    """Spot 0 and three moves either way, an extreme, and the basis a year (January 2025)."""
    points = stress_grid(name).points
    assert {abs(p.price) for p in points[:21]} == {0.0, *moves}
    assert sorted(p.price for p in points[21:23]) == [-extreme, extreme]
    assert sorted(p.basis for p in points[23:]) == [-basis, basis]
    assert all(p.weight == 1.0 for p in points[:21])


def test_paradex_has_24_scenarios():
    grid = stress_grid("paradex")
    assert len(set(grid.points)) == 24
    assert max(abs(p.price) for p in grid.points if p.weight == 1.0) == 0.16


@pytest.mark.parametrize("name", GRIDS)
def test_a_linear_position_loses_no_more_beyond_the_edge_than_at_it(name):
    """The default share of an extended move's loss is edge over move."""
    points = stress_grid(name).points
    edge = max(abs(p.price) for p in points if p.weight == 1.0)
    beyond = [p for p in points if p.weight != 1.0]
    assert [p.weight * abs(p.price) for p in beyond] == pytest.approx([edge] * len(beyond))
    whole = stress_grid(name, GridTerms(extended_weight=1.0)).points
    assert [p.weight for p in whole] == [1.0] * len(points)


def test_an_option_and_a_perpetual_under_deribits_grid(scenarios):
    """Short 2 puts of 100 in 15 days, short 1.5 perpetuals, at 100 and 70 % volatility.

    Volatility moves by 38 % x (30/15)**0.30 = 46.78 %. At -16 % with volatility up, say, the put
    is worth blackFormula(100, 84, 0.7 x 1.4678 x sqrt(15/365)) = 18.142 against 5.656 today:
    two short lose 24.97, and 1.5 short perpetuals gain 24.
    """
    items = [
        mm.Option("put", "a0", "put", 100.0, "2020-01-16"),
        mm.Perpetual("perp", "a0", funding_rate=1e-3),
    ]
    rows = [("x", "put", -2.0), ("x", "perp", -1.5)]
    report = stressed(rows, items, scenarios, grids={"a0": "deribit"})
    found = losses_of(report, "x", "deribit a0")
    root, shock = (15 / 365) ** 0.5, 0.38 * 2.0**0.30
    assert shock == pytest.approx(0.4678, abs=1e-4)

    def loss(price, volatility):
        values = [
            ql.blackFormula(ql.Option.Put, 100.0, 100.0 * (1 + x), 0.7 * (1 + y) * root)
            for x, y in ((0.0, 0.0), (price, volatility))
        ]
        return 2.0 * (values[1] - values[0]) + 1.5 * 100.0 * price

    assert loss(-0.16, shock) == pytest.approx(24.97 - 24.0, abs=0.005)
    moves = [0.04 * step for step in range(-4, 5)]
    expected = [loss(x, y) for x in moves for y in (shock, 0.0, -shock)]
    for move in (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0):
        expected.append(0.16 / abs(move) * loss(move, shock))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert report.accounts["loss"][0] == pytest.approx(max(expected), abs=1e-8)


def test_the_volatility_move_by_paradexs_formula(scenarios):
    """IV' = IV (1 + shock (30 / max(floor, days))**power), of an option of 3 days, floor 7."""
    items = [mm.Option("C", "a1", "call", 52.0, "2020-01-04")]
    terms = GridTerms(
        volatility_up=0.4, volatility_down=0.25, power=0.2, floor_days=7.0, extended_weight=0.1
    )
    report = stressed(
        [("x", "C", -10.0)], items, scenarios, grids={"a1": "paradex"}, grid_terms=terms
    )
    found = losses_of(report, "x", "paradex a1")
    root, scale = (3 / 365) ** 0.5, (30 / 7) ** 0.2
    today = ql.blackFormula(ql.Option.Call, 52.0, 50.0, 0.5 * root)
    for price, shock, weight in ((0.16, 0.4, 1.0), (0.12, -0.25, 1.0), (0.5, 0.4, 0.1)):
        moved = 0.5 * (1 + shock * scale)
        value = ql.blackFormula(ql.Option.Call, 52.0, 50.0 * (1 + price), moved * root)
        name = GridPoint(price, shock, weight=weight).name
        assert found[name] == pytest.approx(10 * weight * (value - today), abs=1e-8)


def test_a_volatility_does_not_fall_below_nothing(scenarios):
    """100 % down, and more for what has less than 30 days: the option is worth its pay-off."""
    items = [mm.Option("C", "a1", "call", 48.0, "2020-01-04")]
    report = stressed(
        [("x", "C", 1.0)],
        items,
        scenarios,
        grids={"a1": "paradex"},
        grid_terms=GridTerms(volatility_down=1.0),
    )
    found = losses_of(report, "x", "paradex a1")[GridPoint(0.0, -1.0).name]
    today = ql.blackFormula(ql.Option.Call, 48.0, 50.0, 0.5 * (3 / 365) ** 0.5)
    assert found == pytest.approx(today - 2.0, abs=1e-9)


def test_okxs_basis_moves_dated_futures_by_their_time(scenarios):
    """5 % a year, 73 days, long one and short the spot: 100 (exp(0.05 x 0.2) - 1) = 1.005."""
    items = [mm.Spot("S", "a0"), mm.Future("F", "a0", "2020-03-14", carry=0.0)]
    report = stressed(
        [("x", "F", 1.0), ("x", "S", -1.0)], items, scenarios, grids={"*": "okx-major"}
    )
    found = losses_of(report, "x", "okx-major a0")
    gains = [100 * np.expm1(0.01), 100 * np.expm1(-0.01)]
    assert found["basis +5 % a year"] == pytest.approx(-gains[0])
    assert found["basis -5 % a year"] == pytest.approx(-gains[1])
    assert found["price -12 %"] == pytest.approx(0.0, abs=1e-12)


def test_each_underlying_alone_and_all_of_an_exchange_together(scenarios):
    """Long a0, short a1: apart they lose 12 of 100 and 25 of 50 %; together the moves offset."""
    items = [mm.Spot("S", "a0"), mm.Spot("T", "a1"), mm.Spot("V", "a2")]
    rows = [("x", "S", 1.0), ("x", "T", -2.0), ("y", "V", 1.0)]
    grids = {"a0": "okx-major", "*": "okx-other", "a2": "deribit"}
    report = stressed(rows, items, scenarios, grids=grids)
    assert list(report.scenarios_of("x")["set"].unique()) == [
        *("okx-major a0", "okx-other a1", "deribit a2", "okx all")
    ]
    frame = report.to_frame()
    worst = frame[frame["account"] == "x"]["loss"].to_numpy()
    # 12 % of 100; 25 % of 100; nothing; +25 % of the short less +12 % of the long.
    np.testing.assert_allclose(worst, [12.0, 25.0, 0.0, 25.0 - 12.0], atol=1e-12)
    together = losses_of(report, "x", "okx all")
    # The first point is the lowest price of both grids: -12 % and -25 %.
    assert together["point 1 of each"] == pytest.approx(12.0 - 25.0)
    assert frame[frame["account"] == "y"]["loss"].tolist() == pytest.approx([0, 0, 1.6, 0])


def test_a_contract_with_prices_of_its_own_moves_with_its_underlying(scenarios):
    items = [mm.Perpetual("P", "a0", price_asset="a2"), mm.Spot("T", "a1")]
    report = stressed([("x", "P", 1.0), ("x", "T", 1.0)], items, scenarios, grids={"a0": "deribit"})
    found = losses_of(report, "x", "deribit a0")
    assert found["price -16 %"] == pytest.approx(1.6)
