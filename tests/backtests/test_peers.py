"""Peers against closed forms, arch's own forecasts, and plain numpy."""

import numpy as np
import pandas as pd
import pytest
from arch.univariate import GARCH, StudentsT, ZeroMean
from scipy import stats

import mcmargin as mm
from mcmargin.backtests.competing import Question, forecast_of_returns
from mcmargin.backtests.peers import (
    EwmaNormal,
    FilteredHistorical,
    HistoricalSimulation,
    LogGarchCopula,
    PriceScan,
    StaticPercentage,
    ewma_covariance,
)
from mcmargin.demo import demo_prices

ASKED = Question(np.array([[100.0, 0.0], [50.0, -50.0]]), (1, 2), (0.99, 0.975), 20_000, 7)


@pytest.fixture(scope="module")
def closes():
    frame = demo_prices().to_frame()[["sp500", "wti"]].dropna().iloc[-701:]
    return mm.PriceHistory.from_frame(frame)


@pytest.fixture(scope="module")
def returns(closes):
    return closes.prices[1:] / closes.prices[:-1] - 1.0


def asked_of(model, closes):
    return model.forecast(model.fit(closes, None), closes, ASKED)


@pytest.mark.parametrize("scenarios", [1000, 777])
def test_a_forecast_of_returns_has_the_tails_of_the_package(scenarios):
    drawn = np.random.default_rng(1).standard_normal((2, 2, scenarios))
    found = forecast_of_returns(drawn, ASKED)
    for p in range(2):
        for h in range(2):
            losses = -(ASKED.exposures[p] @ drawn[h])
            for q, level in enumerate(ASKED.levels):
                var, shortfall = (
                    mm.value_at_risk(losses, level=level),
                    mm.expected_shortfall(losses, level=level),
                )
                assert found.value_at_risk[p, h, q] == pytest.approx(var, rel=1e-12)
                assert found.expected_shortfall[p, h, q] == pytest.approx(shortfall, rel=1e-12)


def test_a_static_percentage_is_of_gross_exposure(closes):
    found = asked_of(StaticPercentage(0.1), closes)
    assert found.value_at_risk[:, 0].tolist() == [[10.0, 10.0], [10.0, 10.0]]
    assert found.value_at_risk[:, 1] == pytest.approx(10.0 * np.sqrt(2.0))
    assert found.gains.shape == (2, 2, 0)


def test_exponential_weights_are_those_of_pandas(returns):
    frame = pd.DataFrame(returns[-300:])
    wanted = (frame**2).ewm(alpha=0.06, adjust=True).mean().iloc[-1]
    found = np.diag(ewma_covariance(returns[-300:], 0.94))
    assert found == pytest.approx(wanted.to_numpy(), rel=1e-9)


def test_the_normal_has_its_closed_forms(closes, returns):
    found = asked_of(EwmaNormal(), closes)
    weights = 0.94 ** np.arange(len(returns))[::-1]
    pair = returns @ ASKED.exposures[1]
    deviation = np.sqrt((weights * pair**2).sum() / weights.sum() * 2.0)
    assert found.value_at_risk[1, 1, 0] == pytest.approx(2.326348 * deviation, rel=1e-6)
    assert found.expected_shortfall[1, 1, 0] == pytest.approx(2.665214 * deviation, rel=1e-6)
    assert found.gains[1, 1].std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * 1000))


def test_historical_simulation_takes_the_last_returns(closes):
    found = asked_of(HistoricalSimulation(500), closes)
    two = closes.prices[2:] / closes.prices[:-2] - 1.0
    losses = -(two[-499:] @ ASKED.exposures[1])
    assert found.gains.shape[2] == 499
    assert found.expected_shortfall[1, 1, 0] == pytest.approx(
        mm.expected_shortfall(losses, level=0.99), rel=1e-12
    )


def test_filtered_history_has_todays_volatility(closes, returns):
    """Its residuals are near unit variance, so that one bar's deviation is today's."""
    found = asked_of(FilteredHistorical(), closes)
    variance = (returns[:50, 0] ** 2).mean()
    residuals = []
    for bar in returns[:, 0]:
        residuals.append(bar / np.sqrt(variance))
        variance = 0.94 * variance + 0.06 * bar**2
    wanted = 100.0 * np.sqrt(variance) * np.std(residuals)
    kurtosis = stats.kurtosis(residuals, fisher=False)
    error = np.sqrt((kurtosis - 1.0) / 4.0 / 20_000)
    assert found.gains[0, 0].std() == pytest.approx(wanted, rel=4 * error)


def test_the_garch_copula_starts_from_archs_own_forecast(closes):
    model = LogGarchCopula()
    fitted = model.fit(closes, None)
    logs = 100.0 * np.diff(np.log(closes.prices[:, 0]))
    theirs = ZeroMean(logs, volatility=GARCH(1, 0, 1), distribution=StudentsT())
    result = theirs.fit(disp="off")
    assert fitted["parameters"][0] == pytest.approx(result.params.to_numpy(), rel=1e-6)
    ahead = result.forecast(horizon=1, reindex=False).variance.to_numpy()[-1, 0]
    found = model.forecast(fitted, closes, ASKED)
    moves = 100.0 * np.log1p(found.gains[0, 0] / 100.0)
    nu = result.params["nu"]
    law = stats.t(nu, scale=np.sqrt(ahead * (nu - 2.0) / nu))
    # Its fourth moment may not exist; quantiles have errors all the same.
    for share in (0.01, 0.25, 0.75):
        wanted = law.ppf(share)
        error = np.sqrt(share * (1.0 - share) / 20_000) / law.pdf(wanted)
        assert np.quantile(moves, share) == pytest.approx(wanted, abs=4 * error)


def test_the_copula_keeps_kendalls_tau(closes):
    model = LogGarchCopula()
    fitted = model.fit(closes, None)
    logs = np.diff(np.log(closes.prices), axis=0)
    residuals = [
        ZeroMean(100 * each, volatility=GARCH(1, 0, 1), distribution=StudentsT())
        .fit(disp="off")
        .std_resid
        for each in logs.T
    ]
    wanted = stats.kendalltau(*residuals).statistic
    legs = Question(np.eye(2), (1,), (0.99,), 20_000, 7)
    gains = model.forecast(fitted, closes, legs).gains[:, 0]
    found = stats.kendalltau(*gains).statistic
    assert found == pytest.approx(wanted, abs=4 * np.sqrt(4.0 / 9.0 / 20_000) + 0.002)


def test_a_price_scan_adds_up_assets_without_offsets(closes, returns):
    found = asked_of(PriceScan(250), closes)
    moves = np.quantile(np.abs(returns[-250:]), 0.99, axis=0)
    assert found.margin is None
    assert found.value_at_risk[1, 0, 0] == pytest.approx(50.0 * moves[0] + 50.0 * moves[1])
    assert found.expected_shortfall[1, 0, 0] == found.value_at_risk[1, 0, 0]
