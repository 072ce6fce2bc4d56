"""Every error that a report states is the standard deviation of its figure over seeds.

One small model is simulated with 200 seeds, and books of every kind are margined on each: open
orders on one side, on both, and of several instruments; isolated positions; coins, currencies and
options; owners of several accounts; collateral jointly and with haircuts; and a policy in which
floor, tests of dependence, longer close-outs, the short options' least, the largest leverage and
maintenance all count.

Of 200 seeds a standard deviation is known to 1 / sqrt(398) = 5 %: 4 of these are allowed, and
beside them what the method itself leaves open. Where two figures are nearly the same, such as the
two sides of a maker's quotes, the error is that of the larger of two normals at the gap that these
paths show; over gaps, which move as the figures do, its mean is up to 7 % above the spread.
"""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mcmargin as mm
from mcmargin.margins import requirement
from mcmargin.margins.components import COMPONENTS
from mcmargin.margins.estimates import Estimate, fixed, larger, movements, tail_estimate
from mcmargin.margins.operations import calmed, margin_of, rounded_up
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.numerics.tail import estimate_tails
from mcmargin.policies.policy_parts import (
    Collateral,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
)
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

SEEDS, PATHS = 200, 1000
SAMPLING = 4.0 / np.sqrt(2.0 * (SEEDS - 1))
METHOD = 0.07
AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [
    mm.Spot("S0", "a0"),
    mm.Spot("E", "a1", "EUR"),
    mm.Perpetual("P0", "a0", basis_volatility=0.1),
    mm.Perpetual("P1", "a1"),
    mm.Perpetual("P3", "a3"),
    mm.Perpetual("INVERSE", "a0", inverse=True, contract_size=10.0),
    mm.Option("CALL", "a3", "call", 105.0, "2020-02-01"),
    mm.Option("PUT", "a3", "put", 90.0, "2020-02-01"),
]
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0, "a3": 100.0},
    volatility={"a3": 0.4},
    vol_of_vol={"a3": 1.0},
    fx={"EUR": 1.2},
    fx_asset={"EUR": "a2"},
    coins=("a0",),
    liquidity={name: InstrumentLiquidity(daily_volume=60.0) for name in ("P0", "P1")},
)
PLAIN = mm.MarginPolicy(level=0.9, horizon=2)
JOINT = PLAIN
HAIRCUT = mm.MarginPolicy(level=0.9, horizon=2, collateral=Collateral("haircut", level=0.95))
FULL = mm.MarginPolicy(
    level=0.9,
    horizon=2,
    short_option_minimum=0.0052,
    maintenance=Maintenance(level=0.85, horizon=1),
    stress=Stress(gaps=(Gap("a0", -0.06),), scenario_weight=0.5, dependence_weight=0.5),
    procyclicality=Procyclicality(buffer=0.25, floor_years=10.0),
    liquidity=Liquidity(spread=0.001),
    leverage=Leverage((LeverageTier(float("inf"), 30.0),)),
)
PLAIN_BOOK = book_of(
    [
        *(("pair", "P0", 10), ("pair", "P1", -18), ("one side", "P0", 3)),
        *(("isolated", "P0", 10), ("isolated", "P1", -18), ("isolated", "P3", 7)),
        *(("coin", "INVERSE", 50), ("coin", "P1", 3), ("euro", "E", 4), ("euro", "P0", 2)),
        *(("options", "CALL", -5), ("options", "PUT", -6), ("options", "P3", 1)),
        *(("sum a", "P0", 4), ("sum b", "P1", -6), ("sum b", "P3", 2)),
        *(("net a", "P0", 4), ("net b", "P1", -6), ("net b", "P3", 2)),
        ("isolated maker", "P1", 2),
    ],
    ITEMS,
    orders=[
        *(("one side", "P0", 2), ("one side", "P1", 4)),
        *(("maker", "P0", sign * 8) for sign in (1, -1)),
        *(("three", name, sign * 5) for name in ("P0", "P3") for sign in (1, -1)),
        *(("many", item.name, sign * 2) for item in ITEMS[:5] for sign in (1, -1)),
        *(
            ("isolated maker", "P0", 4),
            ("isolated maker", "P1", 4),
            ("isolated maker", "P1", -9),
        ),
    ],
    accounts=[
        *map(mm.Account, ("pair", "one side", "maker", "three", "many", "options")),
        mm.Account("isolated", mode="isolated"),
        mm.Account("isolated maker", mode="isolated"),
        mm.Account("coin", "a0"),
        mm.Account("euro", "EUR"),
        *(mm.Account(f"sum {each}", owner="sum") for each in "ab"),
        *(mm.Account(f"net {each}", owner="net", netting="net") for each in "ab"),
    ],
)
BALANCED = book_of(
    [
        *(("long", "P0", 10), ("pair", "P0", 10), ("pair", "P1", -18)),
        *(("coin", "INVERSE", 50), ("coin", "P1", 3), ("euro", "P0", 2)),
    ],
    ITEMS,
    [
        *(("long", "USD", 2000), ("long", "a0", 5), ("pair", "a0", 1), ("pair", "a1", 4)),
        *(("pair", "EUR", 50), ("coin", "a0", 3), ("euro", "a0", 2), ("euro", "USD", -100)),
    ],
    accounts=[
        mm.Account("long"),
        mm.Account("pair"),
        mm.Account("coin", "a0"),
        mm.Account("euro", "EUR"),
    ],
)
FULL_BOOK = book_of(
    [
        *(("pair", "P0", 10), ("pair", "P1", -18)),
        *(("spread", "P0", 10), ("spread", "P1", -12), ("spread", "P3", 7)),
        *(("basis", "P0", 9), ("basis", "S0", -4), ("basis", "P1", -8), ("basis", "E", 3)),
        *(("isolated", "P0", 10), ("isolated", "P1", -18), ("isolated", "P3", 7)),
        *(("options", "CALL", -5), ("options", "PUT", -6), ("lever", "P0", 1)),
        *(("sum a", "P0", 4), ("sum b", "P1", -6), ("sum b", "P3", 2)),
    ],
    ITEMS,
    orders=[("maker", "P0", 8), ("maker", "P0", -8)],
    accounts=[
        *map(mm.Account, ("pair", "spread", "basis", "options", "lever", "maker")),
        mm.Account("isolated", mode="isolated"),
        *(mm.Account(f"sum {each}", owner="sum") for each in "ab"),
    ],
)
STUDIES = {
    "plain": (PLAIN_BOOK, PLAIN),
    "joint": (BALANCED, JOINT),
    "haircut": (BALANCED, HAIRCUT),
    "full": (FULL_BOOK, FULL),
}


def model_of():
    rng = np.random.default_rng(1)
    correlation = np.full((4, 4), 0.5)
    correlation[3, :3] = correlation[:3, 3] = 0.0
    np.fill_diagonal(correlation, 1.0)
    # Options are on the asset of constant volatility, whose outlook costs no time.
    kinds = ("gjr", "garch", "garch", "constant")
    model = make_model(kinds, "t", "t", correlation=correlation, variance=4e-4)
    return with_history(model, 0.02 * rng.standard_normal((700, 4)), np.full((700, 4), 4e-4))


@pytest.fixture(scope="module")
def studies():
    """Accounts, owners and haircuts of every study; tables indexed by seed and name."""
    found = {name: defaultdict(list) for name in STUDIES}
    model = model_of()
    for seed in range(SEEDS):
        scenarios = mm.simulate(model, horizons=(1, 2), paths=PATHS, seed=seed, policy=FULL)
        for name, (book, policy) in STUDIES.items():
            report = mm.margin(book, scenarios, MARKET, policy)
            haircuts = report.haircuts
            haircuts["name"] = haircuts["asset"] + " in " + haircuts["currency"]
            for what, frame, key in (
                ("accounts", report.figures, "account"),
                ("owners", report.owners, "owner"),
                ("haircuts", haircuts, "name"),
            ):
                found[name][what].append(frame.set_index(key).select_dtypes("number"))
    return {
        name: {what: pd.concat(frames, keys=range(SEEDS)) for what, frames in each.items()}
        for name, each in found.items()
    }


def spreads(table):
    """Of each row and each figure with an error: its deviation over seeds, and its error."""
    rows = table.groupby(level=1)
    names = [column.removesuffix("_error") for column in table if column.endswith("_error")]
    errors = rows[[f"{name}_error" for name in names]].mean()
    return rows[names].std(), errors.set_axis(names, axis=1)


@pytest.mark.parametrize("what", ["accounts", "owners", "haircuts"])
@pytest.mark.parametrize("study", STUDIES)
def test_errors_are_the_spreads_over_seeds(studies, study, what):
    deviation, error = spreads(studies[study][what])
    # A figure that hardly moves beside the largest of its row is none that anybody looks at.
    least = 0.05 * deviation.max(axis=1).to_numpy()[:, None] + 1e-12
    apart = (error - deviation).abs() - (SAMPLING + METHOD) * deviation
    assert (apart <= least).all(axis=None), pd.concat([deviation, error], axis=1).to_string()


def test_intervals_are_as_wide_as_their_errors(studies):
    """Student's t of 99 degrees of freedom for expected shortfall, the normal for value at risk."""
    for study in STUDIES:
        figures = studies[study]["accounts"]
        for name, factor in (
            ("expected_shortfall", stats.t.isf(0.025, PATHS / 10 - 1)),
            ("value_at_risk", stats.norm.isf(0.025)),
        ):
            width = figures[f"{name}_high"] - figures[f"{name}_low"]
            expected = 2 * factor * figures[f"{name}_error"]
            np.testing.assert_allclose(width, expected, rtol=1e-9, atol=1e-9)


def test_expected_shortfalls_of_isolated_positions_are_covered(studies):
    """95 % intervals of a sum of units cover the mean over seeds in 88 to 99 % of 200 seeds."""
    figures = studies["plain"]["accounts"].xs("isolated", level=1)
    mean = figures["expected_shortfall"].mean()
    inside = (figures["expected_shortfall_low"] < mean) & (
        mean < figures["expected_shortfall_high"]
    )
    assert 0.88 < inside.mean() < 0.99


def test_movements_have_the_covariance_of_two_tails():
    """Of two correlated losses, over 400 samples: the product of the movements is the covariance
    of the two expected shortfalls, within 4 standard errors of a covariance from 400."""
    rng = np.random.default_rng(5)
    samples, products = [], []
    for _ in range(400):
        one, other = rng.standard_normal((2, 2000))
        losses = np.stack([one, 0.8 * one + 0.6 * other, -one])
        tails = estimate_tails(losses, level=0.95)
        moves = movements(tails, tails.expected_shortfall_error)
        samples.append(tails.expected_shortfall)
        products.append(moves @ moves.T)
    covariance, found = np.cov(np.array(samples).T), np.mean(products, axis=0)
    deviation = np.sqrt(np.diag(covariance))
    apart = np.abs(found - covariance) / np.outer(deviation, deviation)
    assert apart.max() < 4 * np.sqrt(2 / 399)
    # What gains where the other loses moves the other way, by little.
    assert 0.4 < found[0, 1] / np.sqrt(found[0, 0] * found[1, 1]) < 0.7
    assert -0.1 < found[0, 2] / np.sqrt(found[0, 0] * found[2, 2]) < 0.05


def test_a_tail_of_one_path_has_a_movement():
    tails = estimate_tails(np.random.default_rng(1).standard_normal((3, 100)), level=0.99)
    assert tails.paths.shape == (3, 1)
    found = tail_estimate(tails).error
    np.testing.assert_allclose(found, tails.expected_shortfall_error, rtol=1e-12)


FORMULAS = {
    "floor": (mm.MarginPolicy(), None),
    "leverage": (mm.MarginPolicy(), None),
    "buffer": (mm.MarginPolicy(procyclicality=Procyclicality(buffer=0.25)), 118.0),
    "buffer used up": (mm.MarginPolicy(procyclicality=Procyclicality(buffer=0.25)), 101.0),
    "speed limit": (mm.MarginPolicy(procyclicality=Procyclicality(speed_limit=0.1)), 92.0),
    "speed limit, base": (mm.MarginPolicy(procyclicality=Procyclicality(speed_limit=0.1)), 60.0),
    "coarse tick": (mm.MarginPolicy(tick=10.0), None),
    "fine tick": (mm.MarginPolicy(tick=0.5), None),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula_moves_as_it_does_with_normal_components(name):
    """20,000 draws of correlated normal components, each put through the formula itself.

    Where the largest of two is taken twice, the second takes the first for a normal: up to 5 %.
    """
    policy, last = FORMULAS[name]
    rng = np.random.default_rng(7)
    centre = {"base": 100.0, "floor": 70.0, "stress_add_on": 5.0, "liquidity": 8.0}
    if name == "floor":
        centre["floor"] = 101.0
    if name == "speed limit, base":
        centre["stress_add_on"] = 1.0
    moving = {each: rng.normal(0.0, 2.0, (1, 3)) for each in centre}
    none = fixed(np.zeros(1))
    least = 112.0 if name == "leverage" else 0.0
    parts = dict.fromkeys(COMPONENTS, none) | {
        each: Estimate(np.array([value]), moving[each], np.zeros((1, 0)))
        for each, value in centre.items()
    }
    parts["leverage_minimum"] = fixed(np.array([least]))
    kinks = {}
    previous = None if last is None else np.array([last])
    found = margin_of(parts, policy, previous, 1, lambda kink: kinks.setdefault(kink, len(kinks)))[
        "margin"
    ]
    draws = rng.standard_normal((3, 20_000))
    drawn = {each: value + (moving[each] @ draws)[0] for each, value in centre.items()}
    stressed = np.maximum(drawn["base"], drawn["floor"]) + drawn["stress_add_on"]
    lasts = None if last is None else np.full(stressed.shape, last)
    calm = calmed(stressed, drawn["base"], policy.procyclicality, lasts, 1)
    margins = rounded_up(np.maximum(calm + drawn["liquidity"], least), policy.tick)
    assert found.error[0] == pytest.approx(margins.std(), rel=0.05 + 4 / np.sqrt(40_000))


def test_the_larger_of_two_moves_with_a_third():
    """Clark's covariance, against 200,000 draws: 4 standard errors of a correlation."""
    rng = np.random.default_rng(3)
    moves = rng.standard_normal((3, 4))
    one, two, three = (
        Estimate(np.array([0.3 * at]), moves[[at]], np.zeros((1, 0))) for at in range(3)
    )
    most = larger(one, two, 0)
    draws = moves @ rng.standard_normal((4, 200_000)) + 0.3 * np.arange(3)[:, None]
    drawn = np.cov(np.maximum(draws[0], draws[1]), draws[2])
    scale = np.sqrt(drawn[0, 0] * drawn[1, 1])
    assert abs(float((most.moves @ three.moves.T)[0, 0]) - drawn[0, 1]) < 4 / 447 * scale
    assert most.error[0] ** 2 == pytest.approx(drawn[0, 0], rel=4 * np.sqrt(2 / 200_000))


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(model_of(), horizons=(1, 2), paths=PATHS, seed=3, policy=FULL)


@pytest.mark.filterwarnings("ignore::mcmargin.errors.MemoryLimitWarning")
@pytest.mark.parametrize("study", ["plain", "full"])
def test_errors_hang_on_no_block(scenarios, study, monkeypatch):
    """Units margined together, or a few at a time, and paths valued in one block, or in tiles."""
    book, policy = STUDIES[study]
    whole = mm.margin(book, scenarios, MARKET, policy)
    told = []
    monkeypatch.setattr(requirement, "LEAST_UNITS", 2)
    small = mm.margin(
        book, scenarios, MARKET, policy, memory_limit=10_000,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    pd.testing.assert_frame_equal(small.figures, whole.figures, check_exact=True)
    pd.testing.assert_frame_equal(small.owners, whole.owners, check_exact=True)
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    small_sums = small.attribution("component")
    pd.testing.assert_frame_equal(small_sums, whole.attribution("component"))


def test_what_ifs_have_the_errors_of_a_margin_after_the_trade(scenarios):
    report = mm.margin(FULL_BOOK, scenarios, MARKET, FULL)
    rows = [("spread", "P0", 15), ("spread", "P1", -12), ("spread", "P3", 7)]
    after = book_of(rows, ITEMS)
    own = mm.margin(after, scenarios, MARKET, FULL).account("spread")
    asked = report.what_if("spread", {"P0": 5})
    for name in ("margin", "maintenance", "base", "floor", "stress_add_on", "liquidity"):
        error = getattr(asked, f"{name}_error")
        assert error == pytest.approx(getattr(own, f"{name}_error"), rel=1e-9, abs=1e-12)
    assert asked.margin_error > 0


def test_a_coin_that_is_paid_away_takes_its_haircuts_error_with_it(scenarios):
    """A coin's account in haircut mode: a tenth of its coins less, a tenth of the error less."""
    accounts = [mm.Account("coin", "a0")]
    book = book_of([("coin", "S0", 1)], ITEMS, [("coin", "a0", 10)], accounts=accounts)
    report = mm.margin(book, scenarios, MARKET, HAIRCUT)
    before, after = report.account("coin"), report.what_if("coin", {"S0": 1.0})
    assert before.collateral_error > 0
    assert after.collateral == pytest.approx(0.9 * before.collateral)
    assert after.collateral_error == pytest.approx(0.9 * before.collateral_error)
