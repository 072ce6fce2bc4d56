"""When things are valued, and in what money: late markets, calendars, rates, pegs."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bar_patterns import calendar_of
from mcmargin.data.bars import BarCalendar
from mcmargin.policies.policy_parts import Leverage, LeverageTier
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.valuing.scenario_market import PathBlock
from tests.helpers.books import book_of
from tests.helpers.models import make_model

TWENTY = Leverage((LeverageTier(float("inf"), 20.0),))
AS_OF = np.datetime64("2020-01-01", "ns")
HOUR = np.timedelta64(1, "h")
SPOT = {"a0": 100.0, "a1": 50.0, "a2": 1.2}


@pytest.fixture(scope="module")
def model():
    return make_model(("gjr", "garch", "garch"), "t", "t", variance=4e-4)


@pytest.fixture(scope="module")
def scenarios(model):
    return mm.simulate(model, horizons=(1, 2, 5), paths=10_000, seed=5, precision="double")


WIDE = mm.Plausibility(move=1)
"""Prices of the euro and of half a hundred, where every asset of the model closed at 100."""


def market_of(as_of=AS_OF, **terms):
    terms = {"volatility": {"a0": 0.4}, "plausibility": WIDE} | terms
    return mm.Market(as_of=as_of, spot=SPOT, **terms)


def moved(scenarios, horizon, asset):
    return 1 + scenarios.returns[scenarios.horizon_index(horizon), asset].astype(float)


# Time


@pytest.mark.parametrize("days", [0.0, 0.25, 1.0, 3.5])
def test_time_runs_from_the_market_and_not_from_the_model(scenarios, days):
    """A market days after the model: the next bar closes after it, and an option has aged."""
    now = AS_OF + np.timedelta64(round(days * 86_400), "s")
    market = market_of(now, carry={"a0": 0.3})
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(2)
    close = AS_OF + np.timedelta64(int(np.floor(days)) + 2, "D")
    assert scenarios.closes(now).times[1] == close
    assert at.years == pytest.approx(float((close - now) / HOUR) / 24 / 365)
    option = mm.Option("C", "a0", "call", 100.0, "2020-03-01")
    years = float((option.expiry - close) / HOUR) / 24 / 365
    forward = 100 * moved(scenarios, 2, 0) * np.exp(0.3 * years)
    volatility = 0.4 * at.volatility_ratio("a0", years)
    expected = mm.black76(forward, 100.0, volatility, years) - option.value(market)
    np.testing.assert_allclose(option.gain(at), expected, atol=1e-10)
    # Nothing moves, and the option is worth the same as one bought at that time.
    future = mm.Future("F", "a0", "2020-03-01", basis_volatility=0.0)
    start = 100 * np.exp(0.3 * float((future.expiry - now) / HOUR) / 24 / 365)
    assert future.price(market) == pytest.approx(start, rel=1e-12)
    np.testing.assert_allclose(future.gain(at), forward - start, atol=1e-10)


def test_funding_is_paid_from_the_markets_time_on(scenarios):
    market = market_of(AS_OF + 12 * HOUR)
    free, paying = (
        mm.Perpetual("P", "a0", funding_rate=rate, basis_volatility=0.0) for rate in (0.0, 1e-4)
    )
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(1)
    # The bar after the market's noon closes at midnight: 12 hours, 1.5 payments.
    np.testing.assert_allclose(free.gain(at) - paying.gain(at), 1.5 * 1e-4 * 100.0, atol=1e-12)


def test_a_model_newer_or_older_than_the_policy_allows_is_refused(scenarios):
    book = book_of([("x", "S", 1.0)], [mm.Spot("S", "a0")])
    policy = mm.MarginPolicy(max_age_days=1)
    for days, words in ((2, "older than the market.*update the model"), (-2, "newer than")):
        market = market_of(AS_OF + np.timedelta64(days, "D"))
        with pytest.raises(mm.DataError, match=words):
            mm.margin(book, scenarios, market, policy)


QUOTES = pd.DataFrame(
    [
        (expiry, strike, 0.4 + 0.3 * np.log(strike / 100.0) ** 2)
        for expiry in ("2020-01-31", "2020-03-31")
        for strike in (80.0, 100.0, 125.0)
    ],
    columns=["expiry", "strike", "volatility"],
).assign(forward=100.0)


def test_margins_on_a_surface(scenarios):
    """A surface that is flat margins as the one number; an old one is refused."""
    option = mm.Option("P", "a0", "put", 90.0, "2020-02-15")
    book = book_of([("x", "P", -1.0)], [option])
    flat = mm.VolatilitySurface.from_quotes(QUOTES.assign(volatility=0.4), as_of=AS_OF)
    margins = [
        mm.margin(book, scenarios, market_of(volatility={"a0": level})).accounts[0].margin
        for level in (flat, 0.4)
    ]
    assert margins[0] == pytest.approx(margins[1], rel=1e-6)
    smile = mm.VolatilitySurface.from_quotes(QUOTES, as_of=AS_OF)
    market = market_of(volatility={"a0": smile})
    report = mm.margin(book, scenarios, market)
    at = PathBlock(scenarios, market, scenarios.plan.tiles).at(5)
    forward, years = 100 * moved(scenarios, 5, 0), 40 / 365
    volatility = smile.volatility(years, np.log(90.0 / forward))
    volatility = volatility * at.volatility_ratio("a0", years)
    gains = option.value(market) - mm.black76(forward, 90.0, volatility, years, "put")
    # On paths a smile is read from a fine table, whose volatility errs by less than 1e-6; of 100
    # in price, vega is 100 sqrt(40 / 365) / sqrt(2 pi) at most.
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=14e-6)
    old = mm.VolatilitySurface.from_quotes(QUOTES, as_of=AS_OF - np.timedelta64(3, "D"))
    with pytest.raises(mm.DataError, match=r"surface of 'a0', of 2019-12-29.*3.0 days"):
        mm.margin(
            book, scenarios, market_of(volatility={"a0": old}), mm.MarginPolicy(max_age_days=2)
        )


def test_bars_within_a_day_close_at_the_minutes_that_they_have():
    """Hours of a listed session, five days a week: after Friday's last comes Monday's first."""
    days = pd.bdate_range("2021-01-04", "2021-03-26")
    times = [day + pd.Timedelta(hours=hour) for day in days for hour in range(14, 21)]
    calendar = calendar_of(np.array(times, "datetime64[ns]"))
    assert calendar.weekdays == (0, 1, 2, 3, 4)
    # Runs of the hours from 14 to 20 of each day, in seconds after Monday's midnight.
    assert calendar.week == tuple(((24 * day + 14) * 3600, 3600, 7) for day in range(5))
    friday = np.datetime64("2021-03-26T19", "ns")
    found = calendar.closes_after(friday, 9)
    expected = ["2021-03-26T20", *(f"2021-03-29T{hour}" for hour in range(14, 21)), "2021-03-30T14"]
    assert found.astype("datetime64[h]").astype(str).tolist() == expected
    # 84 calendar days but the last three, in 12 weeks of 35 bars.
    assert calendar.mean_days == pytest.approx((81 + 6 / 24) / (12 * 35 - 1))


@pytest.mark.parametrize("count", [1, 4, 30])
@pytest.mark.parametrize("after", [0, 1, 2.5, 40])
def test_bars_of_a_day_skip_weekends_by_numpys_calendar(count, after):
    close = np.datetime64("2021-06-24", "ns")
    later = close + np.timedelta64(round(after * 24), "h")
    found = BarCalendar(1.0, (0, 1, 2, 3, 4)).closes_after(close, count, after=later)
    first = np.busday_offset(later.astype("datetime64[D]") + 1, 0, roll="forward")
    expected = np.busday_offset(first, np.arange(count))
    np.testing.assert_array_equal(found.astype("datetime64[D]"), expected)


@pytest.mark.parametrize("after", [0, 3, 7, 500])
@pytest.mark.parametrize("last", ["2021-03-26", "2021-04-01"])
def test_weeks_end_on_fridays_by_pandas_calendar(last, after):
    """From a Friday, and from the Thursday before Good Friday, to which a week's bar may move."""
    fridays = pd.date_range("2019-01-04", "2021-03-26", freq="W-FRI")
    calendar = calendar_of(fridays.to_numpy().astype("datetime64[ns]"))
    assert (calendar.days, calendar.weekdays, calendar.mean_days) == (7.0, (4,), 7.0)
    close = np.datetime64(last, "ns")
    later = close + np.timedelta64(after, "D")
    found = calendar.closes_after(close, 60, after=later)
    # A bar is a week from the one before, moved on to a Friday: after Thursday, not tomorrow.
    start = max(later + np.timedelta64(1, "D"), close + np.timedelta64(7, "D"))
    expected = pd.date_range(start, periods=60, freq="W-FRI")
    np.testing.assert_array_equal(found, expected.to_numpy().astype("datetime64[ns]"))


@pytest.mark.parametrize("days", [2.0, 3.0, 5.0])
def test_bars_of_some_days_never_end_together(days):
    """On weekdays, each after the one before, and never further apart than a step and a weekend."""
    calendar = BarCalendar(days, (0, 1, 2, 3, 4))
    found = calendar.closes_after(np.datetime64("2021-03-26", "ns"), 200)
    assert len(found) == 200
    assert np.is_busday(found.astype("datetime64[D]")).all()
    gaps = np.diff(found) / np.timedelta64(1, "D")
    assert gaps.min() > 0 and gaps.max() <= days + 2


# Money


def test_each_product_is_converted_at_its_own_horizon(scenarios):
    """A spot position of five bars and a perpetual of one, in euro: each at its own rate."""
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    items = [mm.Spot("S", "a0"), mm.Perpetual("P", "a1", basis_volatility=0.0)]
    accounts = [mm.Account("x", "EUR"), mm.Account("y", "EUR")]
    book = book_of([("x", "S", 3.0), ("x", "P", -2.0), ("y", "P", 1.0)], items, accounts=accounts)
    policy = mm.MarginPolicy(horizons={"spot": 5, "perpetual": 1})
    report = mm.margin(book, scenarios, market, policy)
    euro = {bars: 1.2 * moved(scenarios, bars, 2) for bars in (1, 5)}
    spot = 3 * (100 * moved(scenarios, 5, 0) / euro[5] - 100 / 1.2)
    perpetual = 50 * (moved(scenarios, 1, 1) - 1) / euro[1]
    np.testing.assert_allclose(report.profit_and_loss("x"), spot - 2 * perpetual, atol=1e-10)
    np.testing.assert_allclose(report.profit_and_loss("y"), perpetual, atol=1e-10)
    shares = report.positions.query("account == 'x'")["contribution"]
    assert shares.sum() == pytest.approx(report.account("x").expected_shortfall, rel=1e-12)


def test_memory_changes_no_share_of_any_currency(scenarios):
    market = market_of(fx={"EUR": 1.2}, fx_asset={"EUR": "a2"}, coins=("a1",))
    items = [
        mm.Spot("S", "a0"),
        mm.Perpetual("P", "a1"),
        mm.Option("C", "a0", "call", 99, "2021-01-01"),
    ]
    names = [item.name for item in items]
    rng = np.random.default_rng(3)
    rows = [(f"x{n % 6}", names[n // 6], rng.normal()) for n in range(18)]
    codes = ["USD", "EUR", "a1"] * 2
    accounts = [mm.Account(f"x{n}", code) for n, code in enumerate(codes)]
    book = book_of(rows, items, accounts=accounts)
    policy = mm.MarginPolicy(horizons={"option": 2})
    whole = mm.margin(book, scenarios, market, policy)
    parts = mm.margin(book, scenarios, market, policy, memory_limit=300_000)
    pd.testing.assert_frame_equal(parts.positions, whole.positions, check_exact=True)
    pd.testing.assert_frame_equal(parts.figures, whole.figures, check_exact=True)


def test_an_asset_of_the_model_breaks_its_peg_too(scenarios):
    """The coin's own moves, and on 1 - 0.99**5 of the paths 30 % of what they leave."""
    market = market_of(depeg={"a2": mm.Depeg(0.01, 0.3)})
    report = mm.margin(book_of([("x", "usdt", 10.0)], [mm.Spot("usdt", "a2")]), scenarios, market)
    left = (report.profit_and_loss("x") + 12.0) / (12.0 * moved(scenarios, 5, 2))
    assert set(np.round(left, 9)) == {1.0, 0.7}
    share, expected = (left < 0.9).mean(), 1 - 0.99**5
    assert abs(share - expected) < 4.5 * np.sqrt(expected / 10_000)


def test_an_asset_quoted_in_another_currency(scenarios):
    """50 euro a share: in dollars it moves with the rate, in euro without."""
    market = market_of(quoted={"a1": "EUR"}, fx={"EUR": 1.2}, fx_asset={"EUR": "a2"})
    items = [mm.Spot("euro", "a1", "EUR"), mm.Spot("dollar", "a1", "USD")]
    book = book_of([("x", "euro", 1.0), ("y", "dollar", 1.0)], items)
    report = mm.margin(book, scenarios, market)
    expected = 60 * (moved(scenarios, 5, 1) * moved(scenarios, 5, 2) - 1)
    for name in "xy":
        np.testing.assert_allclose(report.profit_and_loss(name), expected, atol=1e-10)
    assert (market.price("a1"), market.price("a1", "USD"), market.worth("a1")) == (50.0, 60.0, 60.0)


def test_accounts_that_count_in_a_coin_quoted_in_another_currency(scenarios):
    """A coin of 50 euro is 60 dollars: figures in coin are those in dollars by 60."""
    euro = {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a2"}}
    market = market_of(coins=("a1",), **euro)
    items = [mm.Spot("S", "a0"), mm.Spot("coin", "a1", "EUR"), mm.Perpetual("P", "a0")]
    rows = [(name, item, 2.0) for name in "xy" for item in ("S", "coin", "P")]
    balances = pd.DataFrame({"account": ["x", "y"], "asset": ["a1", "a1"], "amount": [3.0, 3.0]})
    book = book_of(
        rows, items, accounts=[mm.Account("x", "a1"), mm.Account("y")], balances=balances
    )
    policy = mm.MarginPolicy(stress=Stress(gaps=(Gap("a0", -0.4),)), leverage=TWENTY)
    report = mm.margin(book, scenarios, market, policy)
    amounts = report.figures.drop(columns="without_entry_price")  # which is a count
    coin, dollar = amounts.select_dtypes("number").to_numpy()
    np.testing.assert_allclose(60 * coin, dollar, rtol=1e-9, atol=1e-9)
    assert report.account("x").equity == pytest.approx(3 + 2 + 200 / 60)
    stressed = mm.stress(book, scenarios, market, policy).accounts.set_index("account")["loss"]
    assert 60 * stressed["x"] == pytest.approx(stressed["y"])
    greeks = mm.greeks_frame(book, market).groupby("account")["delta"].last()
    assert 60 * greeks["x"] == pytest.approx(greeks["y"])


def test_a_price_in_coin_that_is_quoted_in_another_currency(scenarios):
    """a0 in coins of a1 is worth what a0 is, whatever the coin and the euro do."""
    euro = {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a2"}}
    items = [mm.Spot("plain", "a0"), mm.Spot("in coin", "a0", "a1")]
    book = book_of([("x", "plain", 1.0), ("y", "in coin", 1.0)], items)
    report = mm.margin(book, scenarios, market_of(coins=("a1",), **euro))
    gains = [report.profit_and_loss(name) for name in "xy"]
    np.testing.assert_allclose(*gains, atol=1e-9)


def test_a_perpetual_settled_in_a_stablecoin_that_breaks_its_peg(scenarios):
    """Quoted in the coin, the price rises as the coin falls; the gain is paid in what is left."""
    market = market_of(fx={"USDT": 1.0}, depeg={"USDT": mm.Depeg(0.02, 0.5)})
    perpetual = mm.Perpetual("P", "a0", "USDT", basis_volatility=0.0)
    report = mm.margin(book_of([("x", "P", 1.0)], [perpetual]), scenarios, market)
    block = PathBlock(scenarios, market, scenarios.plan.tiles).at(5)
    coin = block.currency("USDT")
    assert set(np.unique(coin)) == {0.5, 1.0}
    price = 100 * moved(scenarios, 5, 0)
    np.testing.assert_allclose(report.profit_and_loss("x"), (price / coin - 100) * coin, atol=1e-9)


@pytest.mark.parametrize("place", ["spot", "fx"])
def test_a_coin_counts_at_todays_price_wherever_it_stands(scenarios, place):
    terms = {"spot": SPOT | {"coin": 4.0}} if place == "spot" else {"fx": {"coin": 4.0}}
    market = mm.Market(
        **({"as_of": AS_OF, "spot": SPOT, "coins": ("coin",), "plausibility": WIDE} | terms)
    )
    rows, items = [("x", "S", 2.0), ("y", "S", 2.0)], [mm.Spot("S", "a0")]
    accounts = [mm.Account("x", "coin"), mm.Account("y")]
    report = mm.margin(book_of(rows, items, accounts=accounts), scenarios, market)
    coins, dollars = report.figures["margin"]
    assert coins == pytest.approx(dollars / 4.0, rel=1e-12)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"fx": {"a0": 1.0}}, "'a0' stands in spot and in fx"),
        ({"quoted": {"a1": "EUR"}}, "'a1' quoted in 'EUR'"),
        (
            {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a1"}},
            "the rate of 'EUR' is asset 'a1', which is quoted in 'EUR'",
        ),
        ({"quoted": {"b": "USD"}}, "'b' quoted in 'USD': the asset belongs in spot"),
        ({"depeg": {"USD": mm.Depeg(0.1, 0.1)}}, "depeg of 'USD'"),
        ({"coins": ("doge",)}, "the coin 'doge' has no price"),
    ],
)
def test_a_market_that_contradicts_itself(terms, message):
    with pytest.raises(mm.DataError, match=message):
        market_of(**terms)


def test_a_coin_that_loses_all_its_value_leaves_no_rate():
    with pytest.raises(mm.DataError, match="a loss of 1 leaves no rate"):
        mm.Depeg(0.1, 1.0)


def test_an_inverse_contract_is_quoted_in_money():
    for make in (mm.Perpetual, lambda *a, **k: mm.Future(*a[:2], "2021-01-01", *a[2:], **k)):
        with pytest.raises(mm.DataError, match=r"quoted in, as USD, not its coin 'a0'"):
            make("P", "a0", "a0", inverse=True)


# Threads, audits, what-ifs


def test_many_threads_and_currencies_are_as_one(scenarios):
    codes = [f"C{n}" for n in range(40)]
    market = market_of(fx=dict.fromkeys(codes, 1.1), fx_volatility=dict.fromkeys(codes, 0.1))
    rows = [(f"x{n}", "S", 1.0 + n) for n in range(120)]
    accounts = [mm.Account(f"x{n}", codes[n % 40]) for n in range(120)]
    book = book_of(rows, [mm.Spot("S", "a0")], accounts=accounts)
    expected = mm.margin(book, scenarios, market, threads=1).figures
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for seed in range(3):
            fresh = replace(scenarios)
            found = mm.margin(book, fresh, market, threads=8).figures
            pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=str(seed))
    finally:
        sys.setswitchinterval(interval)


def test_a_hedged_accounts_forged_figure_is_no_rounding(model):
    """Its gross exposure is a million times its loss: the bound alone would let ten times pass."""
    scenarios = mm.simulate(model, horizon=1, paths=5000, seed=1)
    items = [mm.Spot("S", "a0"), mm.Perpetual("P", "a0", basis_volatility=0.0)]
    rows = [("h", "S", 1e6), ("h", "P", -1e6 + 1), *((f"o{n}", "S", n) for n in (1.0, 2.0, 3.0))]
    book = book_of(rows, items)
    report = mm.margin(book, scenarios, market_of())
    figures = report.figures.copy()
    at = figures.index[figures["account"] == "h"]
    assert figures.loc[at, "expected_shortfall"].item() < 2e-5 * 2e8 / 10
    figures.loc[at, "expected_shortfall"] *= 10
    forged = replace(report, figures=figures)
    outcome = mm.verify(forged, model, book, market_of())
    assert outcome.verdict == "different"
    assert outcome.reasons == ("expected_shortfall of account 'h' differs, alone of all figures",)
    assert mm.verify(report, model, book, market_of()).verdict == "equal"


def test_the_largest_order_of_an_account_without_money_is_none(scenarios):
    items = [mm.Spot("S", "a0"), mm.Spot("T", "a1")]
    report = mm.margin(book_of([("x", "S", 0.0), ("y", "T", 1.0)], items), scenarios, market_of())
    for equity in (0.0, -5.0):
        for lot in (None, 1.0):
            size = report.max_order("x", "S", side="buy", equity=equity, lot=lot)
            assert size == pytest.approx(0.0, abs=1e-15)


def test_options_that_are_sold_as_ordered_have_the_least_margin(scenarios):
    item = mm.Option("far", "a0", "call", 400.0, "2020-02-01", contract_size=2.0)
    orders = pd.DataFrame({"account": [*"xyz"], "instrument": "far", "quantity": [-5.0, -5.0, 5.0]})
    book = book_of(
        [("x", "far", 3.0), ("y", "far", -1.0), ("z", "far", 1.0)], [item], orders=orders
    )
    policy = mm.MarginPolicy(short_option_minimum=0.05)
    report = mm.margin(book, scenarios, market_of(), policy)
    expected = [0.05 * short * 2 * 100.0 for short in (2, 6, 0)]
    np.testing.assert_allclose(report.figures["short_option_minimum"], expected)


def test_stressed_funding_of_orders_is_the_worse_sides(scenarios):
    """6 payments in 2 days: 5 bp stressed each way, of which the long expects 1 bp."""
    item = mm.Perpetual(
        "P", "a0", funding_rate=1e-4, stressed_funding_rate=5e-4, basis_volatility=0.0
    )
    orders = pd.DataFrame({"account": [*"xy"], "instrument": "P", "quantity": [2.0, -9.0]})
    book = book_of([("x", "P", 3.0), ("y", "P", 3.0)], [item], orders=orders)
    report = mm.margin(book, scenarios, market_of(), mm.MarginPolicy(horizon=2))
    long, short = 6 * 4e-4 * 100, 6 * 6e-4 * 100
    np.testing.assert_allclose(report.figures["stressed_funding"], [5 * long, 6 * short])
