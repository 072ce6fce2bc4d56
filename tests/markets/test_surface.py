"""Volatility surface: interpolation, extrapolation, arbitrage refused and repaired, slices.

Surfaces come from published parameters: Gatheral and Jacquier, "Arbitrage-free SVI volatility
surfaces", Quantitative Finance 14 (2014): Axel Vogt's smile, its mended form, which keeps v, psi
and p of the jump-wing parameters and sets c = p + 2 psi and the least variance 4 v p c / (p + c)^2,
and a power-law SSVI within their bound eta (1 + |rho|) <= 2.
"""

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql
from scipy.interpolate import PchipInterpolator

from mcmargin.data.bars import years_between
from mcmargin.errors import DataError
from mcmargin.markets.smile import butterfly, samples
from mcmargin.markets.surface import VolatilitySurface
from mcmargin.numerics.black import black76

AS_OF = np.datetime64("2021-01-04")
DAYS = (7, 30, 91, 182, 365, 730)
VOGT = (-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)


def svi(k, a, b, rho, m, sigma):
    return a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + sigma**2))


def mended_vogt():
    """Raw parameters of the mended smile from its jump-wing ones, at one year."""
    v, psi, p = 0.01742625, -0.1752111, 0.6997381
    c, least = 0.3493158, 0.01548182
    b = np.sqrt(v) / 2 * (c + p)
    rho = 1 - p * np.sqrt(v) / b
    beta = rho - 2 * psi * np.sqrt(v) / b
    alpha = np.sign(beta) * np.sqrt(1 / beta**2 - 1)
    turn = np.sign(alpha) * np.sqrt(1 + alpha**2) - alpha * np.sqrt(1 - rho**2)
    m = (v - least) / (b * (turn - rho))
    return least - b * alpha * m * np.sqrt(1 - rho**2), b, rho, m, alpha * m


def ssvi(k, days):
    """Power law, eta (1 + |rho|) = 1.7 <= 2; ATM volatility from 23 % to 20 %."""
    theta = 0.04 * days / 365 * (1 + 0.3 * np.exp(-days / 365))
    phi = 1.0 / (theta**0.4 * (1 + theta) ** 0.6)
    rho = -0.7
    return theta / 2 * (1 + rho * phi * k + np.sqrt((phi * k + rho) ** 2 + 1 - rho**2))


def frame_of(slices):
    """Quotes from (days, log-moneyness, total variances)."""
    rows = [
        (str(AS_OF + np.timedelta64(days, "D")), place, np.sqrt(variance / (days / 365)))
        for days, k, w in slices
        for place, variance in zip(k, w, strict=True)
    ]
    return pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])


def ssvi_frame(count=21, low=-4.0, high=2.5):
    """Strikes from so many deviations below the forward to so many above."""
    slices = []
    for days in DAYS:
        k = np.linspace(low, high, count) * np.sqrt(ssvi(0.0, days)) if count > 1 else np.zeros(1)
        slices.append((days, k, ssvi(k, days)))
    return frame_of(slices)


def surface_of(frame, **options):
    return VolatilitySurface.from_quotes(frame, as_of=AS_OF, **options)


def assert_prices_free_of_arbitrage(surface, times):
    """Finite differences of call prices, wings included: knows nothing of g or of the pieces."""
    # Tails go on to where no strike is.
    low = max(min(smile.nodes[0] for smile in surface.smiles) - 0.5, -3)
    high = min(max(smile.nodes[-1] for smile in surface.smiles) + 0.5, 3)
    strikes = np.exp(np.linspace(low, high, 4001))
    earlier = None
    for time in times:
        calls = black76(1.0, strikes, surface.volatility(time, np.log(strikes)), time)
        slopes = np.diff(calls) / np.diff(strikes)
        # Prices round to 1e-16 and strikes are at least 4e-4 exp(low) apart.
        edge = 1e-15 / np.diff(strikes).min()
        assert slopes.max() <= edge
        assert slopes.min() >= -1 - edge
        assert np.diff(slopes).min() >= -2 * edge
        if earlier is not None:
            assert (calls >= earlier - 1e-9).all()
        earlier = calls


def test_quotes_are_kept_and_interpolated_as_scipy_does():
    frame = ssvi_frame()
    surface = surface_of(frame)
    assert surface.repairs == ()
    quoted = surface.volatility(
        years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]")), frame["log_moneyness"]
    )
    np.testing.assert_allclose(quoted, frame["volatility"], rtol=1e-14)
    parts = [rows for _, rows in frame.groupby("expiry")]
    inner = np.linspace(-0.1, 0.07, 101)
    for at in (1, 2, 3):
        pair = []
        for rows, time in zip(parts[at : at + 2], surface.times[at : at + 2], strict=True):
            w = rows["volatility"].to_numpy() ** 2 * time
            pair.append(PchipInterpolator(rows["log_moneyness"], w)(inner))
        for share in (0.0, 0.3, 1.0):
            time = (1 - share) * surface.times[at] + share * surface.times[at + 1]
            w = (1 - share) * pair[0] + share * pair[1]
            np.testing.assert_allclose(
                surface.volatility(time, inner), np.sqrt(w / time), rtol=1e-12
            )


def test_between_quotes_it_is_near_the_surface_that_they_come_from():
    """Cubic interpolation: 41 strikes over 6.5 deviations leave a volatility within 1e-4."""
    surface = surface_of(ssvi_frame(41))
    for days in DAYS:
        k = np.linspace(-3.9, 2.4, 300) * np.sqrt(ssvi(0.0, days))
        true = np.sqrt(ssvi(k, days) / (days / 365))
        assert np.abs(surface.volatility(days / 365, k) - true).max() < 1e-4


def test_in_time_as_quantlib_at_quoted_strikes():
    """BlackVarianceSurface: variance linear in time, volatility flat before and after."""
    strikes = np.array([80.0, 90, 100, 110, 120])
    k = np.log(strikes / 100)
    surface = surface_of(frame_of([(days, k, ssvi(k, days)) for days in DAYS[1:]]))
    today = ql.Date(4, 1, 2021)
    matrix = ql.Matrix(len(strikes), len(DAYS) - 1)
    for row, place in enumerate(k):
        for column, days in enumerate(DAYS[1:]):
            matrix[row][column] = np.sqrt(ssvi(place, days) / (days / 365))
    other = ql.BlackVarianceSurface(
        today,
        ql.NullCalendar(),
        [today + days for days in DAYS[1:]],
        strikes.tolist(),
        matrix,
        ql.Actual365Fixed(),
    )
    other.enableExtrapolation()
    for days in (1, 10, 30, 45, 100, 300, 365, 729, 730, 2000):
        for strike in strikes:
            ours = surface.volatility(days / 365, np.log(strike / 100))
            assert ours == pytest.approx(other.blackVol(today + days, strike), rel=1e-12)


def test_one_quote_an_expiry_is_a_curve_as_quantlib():
    surface = surface_of(ssvi_frame(1))
    today = ql.Date(4, 1, 2021)
    volatilities = [np.sqrt(ssvi(0.0, days) / (days / 365)) for days in DAYS]
    curve = ql.BlackVarianceCurve(
        today, [today + days for days in DAYS], volatilities, ql.Actual365Fixed()
    )
    for days in (3, 7, 20, 100, 500, 730):
        expected = curve.blackVol(today + days, 1.0)
        assert surface.volatility(days / 365, [-2.0, 0.0, 3.0]) == pytest.approx(expected)
    assert surface.slice(0.5).error == 0
    assert surface.arbitrage_free_until == np.inf


@pytest.mark.parametrize(
    ("count", "low", "high"), [(2, -2, 2), (3, -3, 2), (21, -4, 2.5), (61, -1, 1)]
)
def test_published_ssvi_is_accepted_with_its_extrapolations(count, low, high):
    surface = surface_of(ssvi_frame(count, low, high))
    inside = [0.005, *surface.times, *(surface.times[:-1] + surface.times[1:]) / 2]
    assert_prices_free_of_arbitrage(surface, sorted(inside))
    last, until = surface.times[-1], surface.arbitrage_free_until
    assert until > last
    assert_prices_free_of_arbitrage(surface, [last, (last + until) / 2, until])


def test_flat_volatility_after_the_last_expiry_is_free_as_long_as_is_said():
    surface = surface_of(ssvi_frame())
    smile, last = surface.smiles[-1], surface.times[-1]
    k = samples(smile.nodes)
    for factor, free in ((0.999, True), (1.001, False)):
        scale = factor * surface.arbitrage_free_until / last
        g = butterfly(k, *(scale * x for x in smile.derivatives(k)))
        assert (g.min() >= 0) == free


def test_wings_are_smooth_then_flat():
    surface = surface_of(ssvi_frame())
    for smile in surface.smiles:
        for node in smile.nodes[[0, 1, -2, -1]]:
            around = node + np.array([-1e-7, 1e-7])
            w, slope, _ = smile.derivatives(around)
            assert w[1] == pytest.approx(w[0], rel=1e-5)
            assert slope[1] == pytest.approx(slope[0], abs=1e-4)
        far = smile.total_variance(np.array([-50.0, smile.nodes[0], smile.nodes[-1], 50.0]))
        assert far[0] == far[1] == smile.variances[0]
        assert far[2] == far[3] == smile.variances[-1]


@pytest.mark.parametrize(("low", "high"), [(-1.5, 1.5), (-0.5, 1.2), (-1.0, 0.5)])
@pytest.mark.parametrize("count", [9, 31, 121])
def test_vogts_smile_is_refused_and_its_mended_form_is_not(low, high, count):
    """Its density is negative from 0.6 to 1.1 alone: quotes that end at 0.5 have no arbitrage."""
    k = np.linspace(low, high, count)
    frame = frame_of([(365, k, svi(k, *VOGT))])
    if high > 0.6:
        with pytest.raises(DataError, match=r"expiry 2022-01-04, log-moneyness .* use repair=True"):
            surface_of(frame)
    else:
        assert_prices_free_of_arbitrage(taken := surface_of(frame), taken.times)
    mended = surface_of(frame_of([(365, k, svi(k, *mended_vogt()))]))
    assert_prices_free_of_arbitrage(mended, mended.times)


def test_what_a_refusal_says():
    def refuse(volatilities, second=None):
        rows = [("2021-07-05", k, v) for k, v in zip((90, 100, 110), volatilities, strict=True)]
        rows += [("2022-01-04", k, v) for k, v in zip((90, 100, 110), second or (), strict=False)]
        frame = pd.DataFrame(rows, columns=["expiry", "strike", "volatility"])
        with pytest.raises(DataError) as refused:
            surface_of(frame, forward=100.0, source="q.csv")
        return str(refused.value)

    middle = (black76(100.0, [90, 100, 110], [0.2, 0.3, 0.2], 182 / 365) * [-1, 2, -1]).sum() / 200
    told = refuse((0.2, 0.3, 0.2))
    assert told.startswith("q.csv: expiry 2021-07-05, strike 100: a call costs")
    assert (
        f"{middle:.3g} of the forward more than the line between strike 90 and strike 110" in told
    )
    rise = np.diff(black76(100.0, [100, 110], [0.1, 0.6], 182 / 365))[0] / 100
    told = refuse((0.1, 0.1, 0.6))
    assert f"strike 110: a call costs {rise:.3g} of the forward more than at strike 100" in told
    told = refuse((0.2, 0.2, 0.2), (0.145, 0.14, 0.145))
    assert "expiry 2022-01-04, strike 100: total variance 0.0196 is below the 0.0199452" in told
    assert "of expiry 2021-07-05 at the same log-moneyness: calendar arbitrage" in told


def measure(frame, volatilities):
    """Of changes of quotes from a frame to others, as the repair declares it."""
    time = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
    k = frame["log_moneyness"].to_numpy()
    before, after = (
        black76(1.0, np.exp(k), np.asarray(each), time, k > 0)
        for each in (frame["volatility"], volatilities)
    )
    change = np.abs(np.log(after / before)) + 5 * np.abs(volatilities - frame["volatility"])
    return change.sum() + 0.05 * change.groupby(frame["expiry"]).max().sum()


def between(surface):
    """Times at the expiries, and between them."""
    times = surface.times
    return np.sort(np.concatenate([times, *((1 - u) * times[:-1] + u * times[1:] for u in WAYS)]))


WAYS = (0.03, 0.6)


def repaired_volatilities(surface, frame):
    times = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
    return surface.volatility(times, frame["log_moneyness"].to_numpy())


def test_one_wrong_quote_is_repaired_and_listed():
    """By no more than what would put it right, and towards that."""
    frame = ssvi_frame()
    clean = surface_of(frame)
    for row, wrong in ((31, 0.02), (52, -0.02), (0, 0.1), (83, 0.05)):
        spoilt = frame.copy()
        spoilt.loc[row, "volatility"] += wrong
        with pytest.raises(DataError):
            surface_of(spoilt)
        surface = surface_of(spoilt, repair=True)
        assert len(surface.repairs) <= 2
        for repair in surface.repairs:
            (at,) = np.flatnonzero(frame["log_moneyness"] == repair.log_moneyness)
            # A neighbour may be what costs less to move, and then moves the other way.
            assert abs(at - row) <= 1
            assert repair.expiry == frame["expiry"][row]
            assert np.isnan(repair.strike)
            assert repair.before == spoilt["volatility"][at]
            assert 0 < (repair.before - repair.after) / wrong * (1 if at == row else -1) < 1
        ours = measure(spoilt, repaired_volatilities(surface, spoilt))
        assert ours < measure(spoilt, frame["volatility"])
        assert_prices_free_of_arbitrage(surface, between(surface))
        assert surface.fingerprint() != clean.fingerprint()


def test_an_expiry_below_the_one_before_is_raised():
    """For the greater part; where it costs less, the one before is lowered a little."""
    frame = ssvi_frame()
    low = frame["expiry"] == str(AS_OF + np.timedelta64(91, "D"))
    frame.loc[low, "volatility"] *= 0.5
    surface = surface_of(frame, repair=True)
    raised = [each for each in surface.repairs if each.expiry == frame["expiry"][low].iloc[0]]
    others = [each for each in surface.repairs if each not in raised]
    assert all(each.after > each.before for each in raised)
    assert {each.expiry for each in others} <= {str(AS_OF + np.timedelta64(30, "D"))}
    assert len(raised) > len(others)
    assert all(each.after < each.before for each in others)
    assert_prices_free_of_arbitrage(surface, between(surface))


@pytest.mark.parametrize("noise", [0.01, 0.03])
@pytest.mark.parametrize("count", [21, 41])
def test_noise_is_repaired(noise, count):
    """Quotes that stay are on the surface; what is changed stays within some times the noise."""
    frame = ssvi_frame(count)
    true = frame["volatility"].to_numpy(copy=True)
    frame["volatility"] *= 1 + noise * np.random.default_rng(count).normal(size=len(frame))
    surface = surface_of(frame, repair=True)
    assert_prices_free_of_arbitrage(surface, between(surface))
    changed = {(r.expiry, r.log_moneyness) for r in surface.repairs}
    kept = [
        (expiry, k) not in changed
        for expiry, k in zip(frame["expiry"], frame["log_moneyness"], strict=True)
    ]
    times = years_between(AS_OF, frame["expiry"].to_numpy("datetime64[ns]"))
    ours = surface.volatility(times, frame["log_moneyness"])
    np.testing.assert_allclose(ours[kept], frame["volatility"][kept], rtol=1e-11)
    assert np.abs(ours / true - 1).max() < 8 * noise
    assert 0 < len(surface.repairs) < 0.75 * len(frame)


@pytest.mark.parametrize("time", [0.0, 0.01, 7 / 365, 0.1, 0.6, 2.0, 5.0])
def test_a_slice_is_within_its_bound(time):
    surface = surface_of(ssvi_frame())
    table = surface.slice(time)
    k = np.concatenate([np.random.default_rng(7).uniform(-2, 2, 50_000), [-np.inf, np.inf]])
    exact = surface.volatility(time, k)
    assert table.error < 1e-5
    assert np.abs(table.volatility(k) - exact).max() <= table.error + 1e-14
    # float32: its rounding of k is a part of a step, of the volatility 2 units.
    single = table.volatility(k.astype(np.float32))
    assert single.dtype == np.float32
    assert np.abs(single - exact).max() <= table.error + 1e-6
    out = np.empty((2, 3), np.float32)
    assert table.volatility(np.zeros((2, 3)), out=out) is out
    assert out[0, 0] == pytest.approx(table.volatility(0.0), rel=1e-6)


def test_volatilities_broadcast_over_times_and_moneyness():
    surface = surface_of(ssvi_frame())
    times, k = np.array([[0.01], [0.3], [9.0]]), np.linspace(-1, 1, 5)
    both = surface.volatility(times, k)
    assert both.shape == (3, 5)
    for row, time in enumerate(times[:, 0]):
        np.testing.assert_array_equal(both[row], surface.volatility(time, k))
    assert surface.volatility(0.3, 0.1).shape == ()
    np.testing.assert_array_equal(both[2], surface.volatility(surface.times[-1], k))


def test_strikes_and_forwards():
    frame = ssvi_frame()
    by_strike = frame.assign(strike=50 * np.exp(frame["log_moneyness"]), forward=50.0)
    by_strike = by_strike.drop(columns="log_moneyness")
    surface = surface_of(by_strike)
    assert surface.forwards.tolist() == [50.0] * len(DAYS)
    k = np.linspace(-1, 1, 20)
    np.testing.assert_allclose(
        surface.volatility(0.4, k), surface_of(frame).volatility(0.4, k), rtol=1e-9
    )
    given_once = surface_of(by_strike.drop(columns="forward"), forward=50.0)
    assert given_once.fingerprint() == surface.fingerprint()
    assert surface_of(by_strike[::-1]).fingerprint() == surface.fingerprint()
    assert surface_of(frame).fingerprint() != surface.fingerprint()


@pytest.mark.parametrize("as_of", [None, "soon", np.datetime64("NaT")])
def test_a_time_that_is_none(as_of):
    with pytest.raises(DataError, match=r"as_of: (no time is given|'soon' is not an ISO time)"):
        VolatilitySurface.from_quotes(ssvi_frame(), as_of=as_of)
