"""The stress add-on: by hand, against comonotone simulation, and in what-ifs and verification."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.books.units import units_of
from mcmargin.margins.figures import unit_figures
from mcmargin.margins.stress_add_on import dependence_tests, underlying_shortfalls
from mcmargin.margins.unit_context import UnitContext
from mcmargin.margins.valuations import valuations_of
from mcmargin.models.dependence import make_dependence
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.policies.policy_parts import Maintenance, Procyclicality
from mcmargin.policies.policy_words import STRESS as STRESS_WORDS
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow
from tests.helpers.books import book_of, positions_of
from tests.helpers.models import make_model, with_history

AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [
    mm.Spot("S", "a0"),
    mm.Perpetual("P", "a0", basis_volatility=0.0),
    mm.Spot("T", "a1"),
    mm.Perpetual("Q", "a2", basis_volatility=0.0),
    mm.Option("C", "a1", "call", 52.0, "2020-02-01"),
    mm.Option("D", "a1", "put", 48.0, "2020-02-01"),
]
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0, "a2": 10.0},
    volatility={"a1": 0.4},
    fx={"EUR": 1.2},
    fx_volatility={"EUR": 0.1},
    plausibility=mm.Plausibility(move=1),  # every asset of the model closed at 100
)
STRESS = Stress(
    windows=(StressWindow("crash", "2019-12-01", "2020-01-01", 2),),
    grids={"a0": "deribit", "*": "okx-other"},
    gaps=(Gap("a2", -0.5),),
    scenario_weight=0.5,
    dependence_weight=0.25,
)


def model_of(**options):
    model = make_model(("gjr", "garch", "garch"), "t", "t", variance=4e-4, **options)
    rng = np.random.default_rng(23)
    return with_history(model, rng.standard_t(4, (60, 3)) * 0.02, np.full((60, 3), 8e-4))


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(model_of(), horizons=(1, 2), paths=5000, seed=11, precision="double")


def context_of(book, scenarios, market=MARKET, policy=None):
    policy = mm.MarginPolicy(stress=Stress()) if policy is None else policy
    limits = {"memory_limit": 2**30, "threads": 1}
    valuations = valuations_of(book.instruments, scenarios, market, policy, **limits)
    units = units_of(book.accounts, book.quantities, book.buys, book.sells)
    figures = unit_figures(units, valuations.initial, policy.level)
    return UnitContext(units, valuations.initial, {}, policy, policy.level, figures, None)


# Perfect dependence


@pytest.fixture(scope="module")
def comonotone():
    """Three assets of one factor: normal innovations, whose standardised moves are the same."""
    one = make_dependence("gaussian", factor=np.ones((3, 1)), diagonal=np.zeros(3))
    model = replace(make_model(("garch", "gjr", "constant"), variance=4e-4), dependence=one)
    return mm.simulate(model, horizon=1, paths=20_000, seed=3)


def test_perfect_dependence_is_what_one_factor_gives(comonotone):
    """Long spot, call and perpetual, and a short put: each gain rises in its factor.

    At one bar and correlation 1 the sum of the expected shortfalls of the underlyings is the
    expected shortfall of the sum, path by path the same tail.
    """
    market = replace(MARKET, volatility={"a2": 0.4}, vol_of_vol={"a2": 0.0})
    items = [
        *(mm.Spot("S", "a0"), mm.Perpetual("T", "a1", basis_volatility=0.0)),
        *(mm.Option(kind, "a2", kind, 10.0, "2020-02-01") for kind in ("call", "put")),
    ]
    rows = [("x", "S", 3.0), ("x", "T", 4.0), ("x", "call", 20.0), ("x", "put", -10.0)]
    book = book_of(positions_of(rows), items)
    context = context_of(book, comonotone, market)
    _, dependent = dependence_tests(context)
    assert len(underlying_shortfalls(context).data) == 3
    assert dependent[0] == pytest.approx(context.figures.expected_shortfall[0], rel=1e-6)
    policy = mm.MarginPolicy(stress=Stress(dependence_weight=1.0))
    report = mm.margin(book, comonotone, market, policy)
    assert report.accounts[0].stress_add_on <= 1e-6 * report.accounts[0].base


def test_elsewhere_it_is_an_upper_bound(comonotone):
    """A hedge and a straddle: gains that fall, or rise and fall, in their factors."""
    rows = [("x", "S", 3.0), ("x", "T", -6.0), ("x", "C", -5.0), ("x", "D", -5.0)]
    context = context_of(book_of(rows, ITEMS), comonotone)
    _, dependent = dependence_tests(context)
    assert dependent[0] > 1.5 * context.figures.expected_shortfall[0]


def test_it_is_an_upper_bound_under_any_dependence(scenarios):
    rng = np.random.default_rng(29)
    rows = [(f"{a:02}", item.name, rng.normal(0, 5)) for a in range(40) for item in ITEMS]
    context = context_of(book_of(rows, ITEMS), scenarios)
    _, dependent = dependence_tests(context)
    assert (dependent >= context.figures.expected_shortfall * (1 - 1e-12)).all()


# By hand


def test_the_expected_shortfall_of_each_underlying_alone(scenarios):
    """Spot and perpetual of a0 together; a1 in three parts; a unit of one underlying; none."""
    rows = [
        *(("x", "S", 3.0), ("x", "P", -1.0), ("x", "T", -2.0), ("x", "C", 5.0), ("x", "Q", -7.0)),
        *(("y", "T", 2.0), ("y", "D", -3.0)),
        *(("z", "Q", 4.0), ("z", "S", -1.0)),
        ("w", "S", 0.0),
    ]
    book = book_of(
        rows, ITEMS, accounts=[mm.Account(name) for name in "wxy"] + [mm.Account("z", "EUR")]
    )
    context = context_of(book, scenarios)
    gains = {
        item.name: next(changes for _, changes in context.valuation.blocks())[at]
        for at, item in enumerate(context.valuation.instruments)
    }

    def alone(**held):
        total = sum(quantity * gains[name] for name, quantity in held.items())
        return expected_shortfall(-total, level=0.99)

    found = underlying_shortfalls(context).toarray()
    np.testing.assert_allclose(found[0], [0.0, 0.0, 0.0])
    expected = [alone(S=3.0, P=-1.0), alone(T=-2.0, C=5.0), alone(Q=-7.0)]
    np.testing.assert_allclose(found[1], expected, rtol=1e-12)
    np.testing.assert_allclose(found[2], [0.0, alone(T=2.0, D=-3.0), 0.0], rtol=1e-12)
    # In euro each part is converted at the path's rate, as the whole is.
    for at, name, quantity in ((0, "S", -1.0), (2, "Q", 4.0)):
        lone = book_of([("z", name, quantity)], ITEMS, accounts=[mm.Account("z", "EUR")])
        own = context_of(lone, scenarios).figures.expected_shortfall[0]
        assert found[3][at] == pytest.approx(own, rel=1e-12)


def test_the_worse_of_two_tests_by_hand(scenarios):
    """The two largest underlyings count alone; what gains for sure is in the sum of all."""
    rows = [("x", "S", 3.0), ("x", "T", -2.0), ("x", "Q", -7.0)]
    context = context_of(book_of(rows, ITEMS), scenarios)
    alone = underlying_shortfalls(context).toarray()[0]
    two_largest, dependent = dependence_tests(context)
    assert two_largest[0] == pytest.approx(np.sort(alone)[1:].sum(), rel=1e-12)
    assert dependent[0] == pytest.approx(alone.sum(), rel=1e-12)
    # Funding that is received for sure: its underlying's expected shortfall is below nothing.
    sure = replace(ITEMS[3], funding_rate=-1.0)
    held = positions_of([*rows[:2], ("x", "Q", 7.0)])
    book = book_of(held, [*ITEMS[:3], sure])
    context = context_of(book, scenarios)
    alone = underlying_shortfalls(context).toarray()[0]
    assert alone[2] < 0 < min(alone[:2])
    two_largest, dependent = dependence_tests(context)
    assert two_largest[0] == pytest.approx(alone[:2].sum(), rel=1e-12)
    assert dependent[0] == pytest.approx(alone.sum(), rel=1e-12)


def test_the_add_on_by_its_formula(scenarios):
    """0.5 x the worst scenario's excess + 0.25 x the worse test's; max(base, floor) before it."""
    rows = [("x", "S", 3.0), ("x", "T", -2.0), ("x", "C", 5.0), ("y", "Q", 40.0)]
    policy = mm.MarginPolicy(stress=STRESS)
    report = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)
    worst = mm.stress(book_of(rows, ITEMS), scenarios, MARKET, policy).accounts["loss"]
    # y: 400 of a2 fall by half; it has one underlying, whose tests are base itself.
    assert worst[1] == pytest.approx(200.0)
    context = context_of(book_of(rows, ITEMS), scenarios)
    tests = np.maximum(*dependence_tests(context))
    assert tests[1] == pytest.approx(report.accounts[1].base)
    for at, account in enumerate(report.accounts):
        expected = 0.5 * max(worst[at] - account.base, 0) + 0.25 * max(tests[at] - account.base, 0)
        assert account.stress_add_on == pytest.approx(expected, rel=1e-12)
        assert account.stress_add_on > 0
        assert account.stressed == pytest.approx(account.base + expected, rel=1e-12)
        assert account.margin == account.stressed


def test_a_floor_is_under_base_and_the_add_on_comes_on_top(scenarios):
    calm = Procyclicality(floor_years=10.0)
    policy = mm.MarginPolicy(stress=STRESS, procyclicality=calm)
    source = mm.simulate(
        scenarios.model, horizon=1, paths=5000, seed=11, policy=policy, precision="double"
    )
    account = mm.margin(book_of([("x", "Q", 40.0)], ITEMS), source, MARKET, policy).accounts[0]
    assert account.floor > account.base
    assert account.stress_add_on == pytest.approx(0.5 * (200.0 - account.base))
    assert account.stressed == pytest.approx(account.floor + account.stress_add_on)


def test_an_isolated_account_pays_for_each_position(scenarios):
    rows = [("x", "Q", 40.0), ("x", "S", -3.0)]
    policy = mm.MarginPolicy(stress=STRESS)
    book = book_of(rows, ITEMS, accounts=[mm.Account("x", mode="isolated")])
    alone = [
        mm.margin(book_of([row], ITEMS), scenarios, MARKET, policy).accounts[0] for row in rows
    ]
    account = mm.margin(book, scenarios, MARKET, policy).accounts[0]
    assert account.stress_add_on == pytest.approx(sum(each.stress_add_on for each in alone))


def test_maintenance_margin_has_an_add_on_of_its_own(scenarios):
    rows = [("x", "S", 3.0), ("x", "T", -2.0), ("x", "Q", 4.0)]
    policy = mm.MarginPolicy(stress=STRESS, maintenance=Maintenance(level=0.95, horizon=1))
    report = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)
    lower = mm.MarginPolicy(level=0.95, horizon=1, stress=STRESS)
    expected = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, lower).accounts[0]
    assert expected.stress_add_on > 0
    assert report.accounts[0].maintenance == pytest.approx(expected.margin, rel=1e-12)


def test_weights_of_nothing_add_nothing(scenarios):
    rows = [("x", "S", 3.0), ("x", "T", -2.0)]
    none = replace(STRESS, scenario_weight=0.0, dependence_weight=0.0)
    report = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, mm.MarginPolicy(stress=none))
    plain = mm.margin(book_of(rows, ITEMS), scenarios, MARKET)
    assert report.accounts[0].stress_add_on == 0.0
    assert report.accounts[0].margin == plain.accounts[0].margin


def test_the_reason_names_both_weights():
    reason = STRESS_WORDS.reason(mm.MarginPolicy(stress=STRESS))
    assert reason.startswith("50 % of the loss beyond base in the worst stress scenario, and ")
    assert "25 % of the loss beyond base in the worse of two tests" in reason
    one = replace(STRESS, dependence_weight=0.0)
    assert " and " not in STRESS_WORDS.reason(mm.MarginPolicy(stress=one))


def test_a_valuation_in_blocks_gives_the_same(scenarios):
    rows = [("x", item.name, 1.0 + at) for at, item in enumerate(ITEMS)]
    policy = mm.MarginPolicy(stress=STRESS)
    whole = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)
    parts = mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy, memory_limit=1)
    assert parts.accounts[0].stress_add_on == pytest.approx(
        whole.accounts[0].stress_add_on, rel=1e-12
    )


# Properties

holdings = st.dictionaries(
    st.sampled_from([item.name for item in ITEMS]),
    st.floats(-1e3, 1e3, allow_subnormal=False),
    min_size=1,
)
properties = settings(max_examples=40, deadline=None, derandomize=True)


def account_of(held, scenarios):
    book = book_of([("x", name, quantity) for name, quantity in held.items()], ITEMS)
    return mm.margin(book, scenarios, MARKET, mm.MarginPolicy(stress=STRESS)).accounts[0]


@given(holdings, st.floats(1e-3, 1e3))
@properties
def test_an_add_on_is_not_negative_and_scales_with_its_positions(scenarios, held, scale):
    one = account_of(held, scenarios)
    assert one.stress_add_on >= 0.0
    scaled = account_of({name: scale * quantity for name, quantity in held.items()}, scenarios)
    gap = abs(scaled.stress_add_on - scale * one.stress_add_on)
    assert gap <= 1e-12 * scale * one.gross_exposure + 1e-300


def test_a_flat_book_has_none(scenarios):
    account = account_of({"S": 0.0, "C": 0.0}, scenarios)
    assert (account.stress_add_on, account.margin) == (0.0, 0.0)
    hedged = account_of({"S": 5.0, "P": -5.0}, scenarios)
    # Two contracts on one price, whose gains differ by rounding.
    assert hedged.stress_add_on <= 1e-12 * 1000.0


# What is built on it


@pytest.fixture(scope="module")
def report(scenarios):
    rows = [("x", "S", 3.0), ("x", "T", -2.0), ("x", "C", 5.0), ("y", "Q", 40.0)]
    policy = mm.MarginPolicy(
        stress=STRESS, maintenance=Maintenance(level=0.95, horizon=1), tick=0.01
    )
    return mm.margin(book_of(rows, ITEMS), scenarios, MARKET, policy)


@pytest.mark.parametrize("trades", [{"T": 4.0}, {"Q": -3.0, "C": 1.0}, {"D": 2.0, "P": -1.0}])
def test_a_what_if_is_a_margin_of_the_book_after_it(report, scenarios, trades):
    """The last holds instruments that the book has not, and is valued on the way."""
    held = {"S": 3.0, "T": -2.0, "C": 5.0}
    after = {name: held.get(name, 0.0) + trades.get(name, 0.0) for name in {**held, **trades}}
    expected = mm.margin(
        book_of([("x", name, quantity) for name, quantity in after.items()], ITEMS),
        scenarios,
        MARKET,
        report.policy,
    ).accounts[0]
    found = report.what_if("x", trades)
    assert found.stress_add_on == pytest.approx(expected.stress_add_on, rel=1e-12)
    assert found.margin == pytest.approx(expected.margin, rel=1e-12)
    assert found.maintenance == pytest.approx(expected.maintenance, rel=1e-12)


@pytest.mark.parametrize(("name", "side"), [("T", "buy"), ("T", "sell"), ("Q", "buy")])
def test_the_largest_order_is_where_a_full_run_says(report, scenarios, name, side):
    """Up to it every one of 20 sizes is within the equity; a tick's worth beyond it none is."""
    equity = 2.0 * report.account("x").margin
    largest = report.max_order("x", name, side=side, equity=equity)
    sign = 1.0 if side == "buy" else -1.0

    def margin(size):
        rows = [("x", "S", 3.0), ("x", "T", -2.0), ("x", "C", 5.0), ("x", name, sign * size)]
        frame = positions_of(rows).groupby(["account", "instrument"], as_index=False).sum()
        book = book_of(frame, ITEMS)
        return mm.margin(book, scenarios, MARKET, report.policy).accounts[0].margin

    assert all(margin(share * largest) <= equity for share in np.linspace(0, 1, 20))
    assert margin(1.001 * largest) > equity


def test_a_report_verifies(report, scenarios):
    book = report.session.book
    again = mm.MarginReport.from_json(report.to_json())
    assert again.figures["stress_add_on"].tolist() == report.figures["stress_add_on"].tolist()
    model = scenarios.model
    assert mm.verify(again, model, book).verdict == "equal"
    forged = replace(again, figures=again.figures.assign(stress_add_on=0.0))
    found = mm.verify(forged, model, book)
    assert (found.verdict, len(found.reasons)) == ("different", 1)


def test_a_currency_whose_rate_is_an_asset_is_that_asset():
    """Euro of cash cover a short in the asset that is their rate: two names, one risk factor."""
    model = make_model(("garch", "garch"), "t", "t", variance=4e-4)
    scenarios = mm.simulate(model, horizon=1, paths=5000, seed=3)
    market = mm.Market(
        as_of=model.as_of,
        spot={"a0": 100.0, "a1": 1.25},
        fx={"EUR": 1.25},
        fx_asset={"EUR": "a1"},
        plausibility=mm.Plausibility(move=1),  # every asset of the model closed at 100
    )
    book = book_of([("x", "a1", -100.0)], balances=[("x", "EUR", 100.0)])
    policy = mm.MarginPolicy(stress=Stress(scenario_weight=0.0, dependence_weight=1.0))
    account = mm.margin(book, scenarios, market, policy).account("x")
    assert account.stress_add_on == pytest.approx(0.0, abs=1e-10)
    assert account.margin == pytest.approx(0.0, abs=1e-10)


def test_a_stress_part_without_weights_charges_nothing(scenarios):
    """What is declared to look, looks: scenarios, and a part that says nothing at all."""
    book = book_of([("x", "S", 3.0), ("x", "T", -2.0)], ITEMS)
    margins = [
        mm.margin(book, scenarios, MARKET, mm.MarginPolicy(stress=part))
        for part in (
            None,
            Stress(),
            Stress(gaps=(Gap("a0", -0.9),)),
            Stress(gaps=(Gap("a0", -0.9),), scenario_weight=0.0),
            Stress(gaps=(Gap("a0", -0.9),), scenario_weight=0.5),
        )
    ]
    plain, *looking, charging = (report.figures["margin"][0] for report in margins)
    assert looking == [plain] * 3
    assert charging > 1.5 * plain
    # A fall of 90 % costs three of a0 270, and half of what that is above base is added.
    assert [report.figures["stress_add_on"][0] for report in margins[:4]] == [0.0] * 4
