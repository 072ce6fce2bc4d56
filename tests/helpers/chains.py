"""Chains of option quotes, the surfaces on them, and what makes a surface free of arbitrage."""

import numpy as np
import pandas as pd
import QuantLib as ql

from mcmargin.data.bars import years_between
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.numerics.black import black76
from mcmargin.numerics.implied import implied_volatility

AS_OF = np.datetime64("2021-01-04")
COLUMNS = ["expiry", "strike", "volatility", "forward"]


def otm(x, volatility, time):
    """Out-of-the-money prices at strikes x of a forward of 1."""
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
    """Surface on a table of quotes, with options of `VolatilitySurface.from_quotes`."""
    return VolatilitySurface.from_quotes(frame, as_of=AS_OF, **options)


def on_surface(surface, frame):
    """Volatilities of a surface at the quotes of a table."""
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
    """Times of a surface, half of its first, and those some way from each to the next."""
    times = surface.times
    inner = [(1 - way) * times[:-1] + way * times[1:] for way in ways]
    return np.sort(np.concatenate([[times[0] / 2], times, *inner]))


def heston(v0, kappa, theta, sigma, rho):
    """Out-of-the-money prices by Heston's model: a function of days and a strike."""
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
    """Prices by a model of `MODELS`, and its chains: (days, strikes, prices) of each expiry."""
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
