"""Arbitrage of quotes, its repair, and what lies between quotes, against programmes of scipy's.

The oracle knows nothing of our conditions: it asks scipy whether there are call prices at all
strikes of all expiries that fall, are convex and grow in time, and how far quotes must move until
there are. Chains come from QuantLib's Heston model, from mixtures of a few prices at expiry, and
from a smile whose prices are rounded to ticks.
"""

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import mcmargin as mm
from mcmargin.data.bars import years_between
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.numerics.black import black76, black76_greeks
from mcmargin.numerics.implied import implied_volatility

AS_OF = np.datetime64("2021-01-04")
COLUMNS = ["expiry", "strike", "volatility", "forward"]


def otm(x, volatility, time):
    return black76(1.0, x, volatility, time, x > 1)


def frame_of(chains):
    """Quotes from (days, strikes over the forward, their out-of-the-money prices)."""
    rows = [
        (str(AS_OF + np.timedelta64(days, "D")), strike, volatility, 1.0)
        for days, x, prices in chains
        for strike, volatility in zip(
            x, implied_volatility(prices, 1.0, x, days / 365, x > 1), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def surface_of(frame, **options):
    return VolatilitySurface.from_quotes(frame, as_of=AS_OF, **options)


def on_surface(surface, frame):
    times = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
    k = np.log(frame["strike"].to_numpy() / frame["forward"].to_numpy())
    return surface.volatility(times, k)


def assert_free(surface, times, low=0.2, high=4.0, tolerance=2e-13):
    """Calls on a fine grid fall by no more than the strike, are convex, and grow in time."""
    x = np.sort(np.append(np.exp(np.linspace(np.log(low), np.log(high), 3001)), 1.0))
    earlier = None
    for time in times:
        prices = otm(x, surface.volatility(time, np.log(x)), time)
        calls = prices + np.maximum(1 - x, 0)
        slopes = np.diff(calls) / np.diff(x)
        edge = tolerance / np.diff(x).min()
        assert slopes.max() <= edge and slopes.min() >= -1 - edge
        assert np.diff(slopes).min() >= -2 * edge
        if earlier is not None:
            assert (prices >= earlier * (1 - 1e-8) - 1e-15).all()
        earlier = prices


def between(surface, ways=(0.5,)):
    times = surface.times
    inner = [(1 - way) * times[:-1] + way * times[1:] for way in ways]
    return np.sort(np.concatenate([[times[0] / 2], times, *inner]))


class Oracle:
    """Call prices at the strikes of all expiries, as variables of a linear programme."""

    def __init__(self, frame):
        self.expiry = np.unique(frame["expiry"], return_inverse=True)[1]
        self.x, place = np.unique(
            (frame["strike"] / frame["forward"]).round(12), return_inverse=True
        )
        self.count, self.expiries = len(self.x), self.expiry.max() + 1
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = self.x[place]
        self.otm = otm(x, frame["volatility"].to_numpy(), time)
        self.calls = self.otm + np.maximum(1 - x, 0)
        vega = black76_greeks(1.0, x, frame["volatility"].to_numpy(), time).vega
        self.cost = 1 / self.otm + 5 / vega
        self.at = self.expiry * self.count + place

    def conditions(self, extra):
        """Rows and limits of A p <= b, with room for more variables."""
        rows, limits = [], []

        def row(limit, entries):
            rows.append(np.zeros(self.expiries * self.count + extra))
            for place, value in entries:
                rows[-1][place] += value
            # A row's own size, so that the programme's tolerance means the same in all.
            size = np.abs(rows[-1]).max()
            rows[-1] /= size
            limits.append(limit / size)

        for expiry in range(self.expiries):
            start = expiry * self.count
            for at, x in enumerate(self.x):
                left = self.x[at - 1] if at else 0.0
                if at + 1 < self.count:
                    right = self.x[at + 1]
                    # Convex with its neighbours; a call at the strike 0 costs 1.
                    entries = [(start + at, right - left), (start + at + 1, left - x)]
                    if at:
                        entries.append((start + at - 1, x - right))
                    row(0.0 if at else right - x, entries)
                else:
                    row(0.0, [(start + at, 1.0), (start + at - 1, -1.0)])
                row(x - 1, [(start + at, -1.0)])
                if expiry:
                    row(0.0, [(start + at - self.count, 1.0), (start + at, -1.0)])
        return rows, limits

    def feasible(self):
        rows, limits = self.conditions(0)
        fixed = np.zeros((len(self.at), self.expiries * self.count))
        fixed[np.arange(len(self.at)), self.at] = 1.0
        found = linprog(
            np.zeros(fixed.shape[1]), rows, limits, fixed, self.calls, (0, None), method="highs"
        )
        return found.status == 0

    def repaired(self):
        """Out-of-the-money prices of quotes moved by the least that a change costs at first."""
        quotes, prices = len(self.at), self.expiries * self.count
        rows, limits = self.conditions(quotes + self.expiries)
        for each in range(quotes):
            for sign in (1.0, -1.0):
                more = np.zeros(prices + quotes + self.expiries)
                more[self.at[each]], more[prices + each] = sign, -1 / self.cost[each]
                rows.append(more)
                limits.append(sign * self.calls[each])
            more = np.zeros(prices + quotes + self.expiries)
            more[prices + each], more[prices + quotes + self.expiry[each]] = 1.0, -1.0
            rows.append(more)
            limits.append(0.0)
        cost = np.concatenate([np.zeros(prices), np.ones(quotes), np.full(self.expiries, 0.05)])
        found = linprog(cost, rows, limits, bounds=(0, None), method="highs")
        assert found.status == 0
        return self.otm + found.x[self.at] - self.calls

    def measure(self, frame, prices):
        """The measure of change as it is declared; infinite where a price is out of its bounds."""
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = (frame["strike"] / frame["forward"]).to_numpy()
        volatilities = implied_volatility(prices, 1.0, x, time, x > 1)
        change = np.abs(np.log(np.maximum(prices, 1e-300) / self.otm))
        change = change + 5 * np.abs(volatilities - frame["volatility"].to_numpy())
        change = np.where(np.isnan(change), np.inf, change)
        largest = [change[self.expiry == each].max() for each in range(self.expiries)]
        return change.sum() + 0.05 * sum(largest)

    def cost_of(self, frame, surface):
        time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
        x = (frame["strike"] / frame["forward"]).to_numpy()
        return self.measure(frame, otm(x, on_surface(surface, frame), time))


# Laws of the price at expiry: a few prices with weights, of mean 1, which spread in time.
weights = st.lists(st.floats(0.05, 1.0), min_size=3, max_size=9)
ratios = st.floats(0.02, 0.6)


@st.composite
def laws(draw, expiries=3):
    """Quotes of laws in convex order: what is spread keeps its mean."""
    weight = np.array(draw(weights))
    places = np.array(
        draw(st.lists(st.floats(0.3, 2.0), min_size=len(weight), max_size=len(weight), unique=True))
    )
    weight /= weight.sum()
    places = places / (weight @ places)
    # The forward itself is spread enough that every price says something.
    chains = []
    for days in (30, 91, 365)[:expiries]:
        spread = draw(ratios)
        places = np.concatenate([places * (1 - spread), places * (1 + spread)])
        weight = np.concatenate([weight, weight]) / 2
        low, high = places.min(), places.max()
        shares = draw(st.lists(st.floats(0.04, 0.96), min_size=1, max_size=12, unique=True))
        x = np.unique(np.round(low + (high - low) * np.array(sorted(shares)), 6))
        x = x[(x > low * 1.001) & (x < high * 0.999)]
        gain = np.where(x[:, None] > 1, places - x[:, None], x[:, None] - places)
        assume(len(x))
        chains.append((days, x, np.maximum(gain, 0) @ weight))
    frame = frame_of(chains)
    # Prices too near their bounds have no volatility.
    assume(frame["volatility"].between(1e-3, 90).all())
    return frame


# A failing example is told as it is: to make it smaller takes minutes.
ONCE = (Phase.explicit, Phase.generate)


@settings(max_examples=15, deadline=None, derandomize=True, phases=ONCE)
@given(laws())
def test_quotes_of_any_martingale_are_taken_as_they_are(frame):
    """Prices of a few atoms are straight lines between them: the hardest quotes there are."""
    wide = mm.Plausibility(volatility=100)
    surface = surface_of(frame, plausibility=wide)
    np.testing.assert_allclose(on_surface(surface, frame), frame["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))


@settings(max_examples=12, deadline=None, derandomize=True, phases=ONCE)
@given(laws(), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.02, 0.2]))
def test_noise_is_refused_when_scipy_finds_no_prices(frame, seed, noise):
    draws = np.random.default_rng(seed).normal(size=len(frame))
    frame["volatility"] *= np.exp(noise * draws)
    wide, oracle = mm.Plausibility(volatility=100), Oracle(frame)
    if oracle.feasible():
        surface_of(frame, plausibility=wide)
    else:
        with pytest.raises(mm.DataError, match="frame: expiry 2"):
            surface_of(frame, plausibility=wide)
    surface = surface_of(frame, plausibility=wide, repair=True)
    # Of large changes the measure is not convex, and the least one finds need not be the least.
    factor = 1.01 if noise < 0.1 else 1.1
    assert (
        oracle.cost_of(frame, surface) <= factor * oracle.measure(frame, oracle.repaired()) + 1e-6
    )
    # Quotes that fail a condition by 1e-8 of their price are taken as they are.
    assert_free(surface, between(surface), tolerance=1e-11)


def ticked(tick):
    """An index smile of 31 strikes 100 apart, its prices on a tick; as of an option chain's."""
    strikes = np.arange(2950.0, 6001.0, 100.0)
    x, time = strikes / 5850.0, 39 / 365
    smile = np.polyval([4.470631, 6.258038, 2.656648, -0.571859, 0.148758], np.log(x))
    prices = np.maximum(np.round(otm(x, smile, time) * 5850 / tick), 1) * tick
    frame = frame_of([(39, x, prices / 5850)])
    return frame.assign(strike=strikes, forward=5850.0), prices


def test_a_chain_on_ticks_is_moved_as_little_as_need_be():
    """The greatest change of a price is 3.8 %, and the least that it can be is 3.3 %."""
    frame, prices = ticked(0.1)
    with pytest.raises(
        mm.DataError, match=r"expiry 2021-02-12, strike .*: a call costs .*butterfly"
    ):
        surface_of(frame)
    surface = surface_of(frame, repair=True)
    after = on_surface(surface, frame)
    x = frame["strike"].to_numpy() / 5850
    change = otm(x, after, 39 / 365) * 5850 / prices - 1
    oracle = Oracle(frame)
    assert oracle.cost_of(frame, surface) <= 1.01 * oracle.measure(frame, oracle.repaired())
    assert np.abs(change).max() < 0.04
    assert np.abs(after - frame["volatility"]).max() < 0.003
    assert (np.abs(change) > 1e-3).sum() <= 6
    assert {round(each.strike, 9) for each in surface.repairs} == set(
        frame["strike"][np.abs(after - frame["volatility"]) > 1e-11].round(9)
    )
    assert_free(surface, surface.times)


def heston(v0, kappa, theta, sigma, rho):
    today = ql.Date(4, 1, 2021)
    ql.Settings.instance().evaluationDate = today
    rate = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, ql.Actual365Fixed()))
    spot = ql.QuoteHandle(ql.SimpleQuote(1.0))
    process = ql.HestonProcess(rate, rate, spot, v0, kappa, theta, sigma, rho)
    engine = ql.AnalyticHestonEngine(ql.HestonModel(process), 192)

    def price(days, x):
        option = ql.VanillaOption(
            ql.PlainVanillaPayoff(ql.Option.Call if x > 1 else ql.Option.Put, x),
            ql.EuropeanExercise(today + days),
        )
        option.setPricingEngine(engine)
        return option.NPV()

    return np.vectorize(price, otypes=[float])


# Like an index with a steep smile, and like a coin at 150 to 200 %.
MODELS = {
    "index": ((0.04, 1.5, 0.06, 0.9, -0.75), (-3.5, 1.8)),
    "coin": ((3.0, 3.0, 2.2, 2.0, -0.1), (-2.5, 2.5)),
}
DAYS = (1, 7, 30, 91, 182, 365, 730)


def model_chains(name, count):
    parameters, (low, high) = MODELS[name]
    price = heston(*parameters)
    chains = []
    for days in DAYS:
        width = np.sqrt(parameters[0] * days / 365)
        x = np.exp(np.linspace(low * width, high * width, count))
        prices = price(days, x)
        # QuantLib's integral knows prices to 1e-12 or so.
        kept = prices > 1e-7
        chains.append((days, x[kept], prices[kept]))
    return price, chains


@pytest.mark.parametrize("name", MODELS)
def test_a_models_chain_is_taken_and_its_prices_between_are_the_models(name):
    """Hundreds of quotes; between them volatilities are the model's, to 1e-3 of it."""
    price, chains = model_chains(name, 49)
    frame = frame_of(chains)
    assert len(frame) > 250
    surface = surface_of(frame)
    np.testing.assert_allclose(on_surface(surface, frame), frame["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))
    for days, x, _ in chains:
        middle = np.sqrt(x[1:] * x[:-1])[::4]
        true = implied_volatility(price(days, middle), 1.0, middle, days / 365, middle > 1)
        np.testing.assert_allclose(surface.volatility(days / 365, np.log(middle)), true, rtol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_chain_on_ticks_is_repaired(name):
    """A tick of 1e-4 of the forward; quotes move by no more than a few ticks."""
    _, chains = model_chains(name, 49)
    tick = 1e-4
    rounded = [
        (days, x[prices > tick], np.round(prices[prices > tick] / tick) * tick)
        for days, x, prices in chains
    ]
    frame = frame_of(rounded)
    with pytest.raises(mm.DataError, match="more such places"):
        surface_of(frame)
    surface = surface_of(frame, repair=True)
    after = on_surface(surface, frame)
    moved = np.concatenate(
        [
            np.abs(otm(x, volatility, days / 365) - prices)
            for (days, x, prices), (_, volatility) in zip(
                rounded, pd.Series(after).groupby(frame["expiry"], sort=False), strict=True
            )
        ]
    )
    # Rounding moved prices by half a tick at most, so that the model's prices are a repair.
    assert moved.max() < 1.5 * tick
    assert 0 < len(surface.repairs) < 0.75 * len(frame)
    assert_free(surface, between(surface))


def test_bid_and_ask_bound_a_repair():
    """What must not move far leaves more to others; a side that is not known bounds nothing."""
    frame, _ = ticked(0.1)
    unbounded = surface_of(frame, repair=True)
    free = on_surface(unbounded, frame)
    farthest = int(np.argmax(np.abs(free - frame["volatility"])))
    bounded = frame.assign(bid=np.nan, ask=np.nan)
    bounded.loc[farthest, "bid"] = frame["volatility"][farthest] - 5e-4
    bounded.loc[farthest, "ask"] = frame["volatility"][farthest] + 5e-4
    surface = surface_of(bounded, repair=True)
    after = on_surface(surface, frame)
    assert abs(free[farthest] - frame["volatility"][farthest]) > 2e-3
    assert abs(after[farthest] - frame["volatility"][farthest]) < 5.001e-4
    oracle = Oracle(frame)
    assert oracle.cost_of(frame, surface) > oracle.cost_of(frame, unbounded)
    assert_free(surface, surface.times)
    narrow = frame.assign(bid=frame["volatility"] - 1e-4, ask=frame["volatility"] + 1e-4)
    with pytest.raises(mm.DataError, match="frame: no prices between bid and ask are free of"):
        surface_of(narrow, repair=True)


def test_calls_that_do_not_fall_are_refused():
    """Two calls of one price: bought and sold, they cost nothing and may gain."""
    x = np.array([0.9, 1.0, 1.1, 1.2])
    prices = np.array([0.02, 0.05, 0.02, 0.0201])
    with pytest.raises(mm.DataError, match=r"strike 1.2: a call costs 0.0001 of the forward more"):
        surface_of(frame_of([(91, x, prices)]))
    level = frame_of([(91, x, np.where(x > 1.1, 0.02, prices))])
    with pytest.raises(mm.DataError, match=r"strike 1.2: a call costs as much as at strike 1.1"):
        surface_of(level)
    surface = surface_of(level, repair=True)
    assert_free(surface, surface.times)


def test_a_later_price_below_the_line_of_earlier_ones_is_refused():
    """Between strikes of the earlier expiry, where no strike is the same."""
    x = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    flat = otm(x, 0.4, 91 / 365)
    y = np.array([0.95])
    # Puts: at 1.1 the call and what the strike is above the forward.
    line = flat[2] - (flat[3] + 0.1 - flat[2]) / 0.1 * 0.05
    assert line > flat[1] + (flat[1] - flat[0]) / 0.1 * 0.05
    later = [(182, y, np.array([0.97 * line]))]
    with pytest.raises(mm.DataError) as told:
        surface_of(frame_of([(91, x, flat), *later]))
    assert (
        f"expiry 2021-07-05, strike 0.95: an option costs {0.03 * line:.3g} of the forward less "
        "than the line through strike 1 and strike 1.1 of expiry 2021-04-05 demands"
    ) in str(told.value)
    # Just above the line it is taken, though a flat volatility of 0.4 is above it.
    low = frame_of([(91, x, flat), (182, y, np.array([1.01 * line]))])
    surface = surface_of(low)
    np.testing.assert_allclose(on_surface(surface, low), low["volatility"], rtol=1e-10)
    assert_free(surface, between(surface))


def test_three_expiries_together():
    """No two of them have an arbitrage: what the first costs most, the later two sell beside it."""
    x, low, high = np.array([1.0]), np.array([0.9]), np.array([1.1])
    chains = [(30, x, np.array([0.06]))]
    # At 0.9 and at 1.1 calls cost 0.12 and 0.011 or more; in the middle of that 0.0655 at most.
    for at_low, at_high, fair in ((0.013, 0.012, True), (0.003, 0.012, False)):
        later = [(91, low, np.array([at_low])), (182, high, np.array([at_high]))]
        frame = frame_of([*chains, *later])
        assert Oracle(frame).feasible() == fair
        if fair:
            assert_free(taken := surface_of(frame), between(taken))
            continue
        assert Oracle(frame_of([*chains, later[0]])).feasible()
        assert Oracle(frame_of([*chains, later[1]])).feasible()
        with pytest.raises(
            mm.DataError,
            match=r"2021-02-03, strike 1: a call costs 0.0025 of .* between strike 0.9 of expiry "
            r"2021-04-05 and strike 1.1 of expiry 2021-07-05 allows",
        ):
            surface_of(frame)
        surface = surface_of(frame, repair=True)
        assert_free(surface, between(surface))


def test_greeks_have_no_jumps_at_quotes():
    """Delta and gamma's integral along the strike, at each quote of a chain."""
    _, chains = model_chains("index", 25)
    surface = surface_of(frame_of(chains))
    for days, x, _ in chains:
        for k in np.log(x):
            around = np.exp(k + np.array([-2e-6, -1e-6, 1e-6, 2e-6]))
            prices = black76(
                1.0, around, surface.volatility(days / 365, np.log(around)), days / 365
            )
            before, after = (np.diff(prices) / np.diff(around))[[0, 2]]
            assert after == pytest.approx(before, abs=2e-3 * np.sqrt(1 / days))


def test_an_expiry_far_out_and_one_quote_far_away():
    """Prices below what float64 holds say nothing, and hinder nothing."""
    rows = [("2021-01-05", k, 0.1) for k in (-0.7, -0.1, 0.0, 0.1, 0.7)]
    rows += [("2031-01-04", k, 3.0) for k in (-2.0, 0.0, 2.0)]
    frame = pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])
    surface = surface_of(frame)
    assert surface.volatility(1 / 365, np.linspace(-3, 3, 7)) == pytest.approx(0.1)
    assert surface.volatility(surface.times[1], 5.0) == pytest.approx(3.0)
