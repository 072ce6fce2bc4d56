"""Diagnostics find what was planted in residuals, and find nothing where nothing was."""

from dataclasses import replace

import numpy as np
import pytest
from arch.univariate import SkewStudent
from scipy import stats

from mcmargin.errors import DataError, PolicyError
from mcmargin.models.diagnostics import diagnostics_of, transform
from mcmargin.models.history import History
from mcmargin.models.innovations import Innovations
from tests.helpers.models import make_model

BARS = 2000
NORMAL = Innovations("normal", np.empty(0))


def model_of(residuals, innovations=None, **fits):
    """A model whose history has these residuals, at a variance that moves."""
    count = residuals.shape[1]
    model = make_model(("garch",) * count)
    variances = 1e-4 * np.exp(0.3 * np.sin(np.arange(len(residuals)) / 40.0))[:, None]
    variances = np.repeat(variances, count, axis=1)
    times = np.datetime64("2015-01-01", "ns") + np.arange(len(residuals)) * np.timedelta64(1, "D")
    return replace(
        model,
        history=History(times, residuals * np.sqrt(variances), variances),
        innovations=innovations or tuple(NORMAL for _ in range(count)),
        facts=model.facts | {"fits": {name: fits | {"refused": []} for name in model.assets}},
    )


def draws(count=2, bars=BARS, seed=1):
    return np.random.default_rng(seed).standard_normal((bars, count))


def test_right_residuals_show_nothing():
    """Of 20 assets each p-value is uniform: their mean is one half, within 3 errors of 0.065."""
    frame = diagnostics_of(model_of(draws(20))).frame
    for name in ("ljung_box", "ljung_box_squares", "pit"):
        assert frame[name].mean() == pytest.approx(0.5, abs=3 / np.sqrt(12 * 20))
    # Shares of a 1 % tail in 40,000 residuals.
    error = np.sqrt(0.99 / 0.01 / 40_000)
    assert frame["lower_tail"].mean() == pytest.approx(1.0, abs=4 * error)
    assert frame["upper_tail"].mean() == pytest.approx(1.0, abs=4 * error)
    assert frame["residual_std"].to_numpy() == pytest.approx(1.0, abs=5 / np.sqrt(2 * BARS))


def test_volatility_that_is_left_in_residuals_is_found():
    calm = np.where(np.sin(np.arange(BARS) / 30.0) > 0.0, 0.6, 1.28)
    row = diagnostics_of(model_of(draws() * calm[:, None])).frame.iloc[0]
    assert row["ljung_box_squares"] < 1e-6
    assert row["ljung_box"] > 0.001


def test_autocorrelation_is_found():
    own = draws()
    own[1:] = 0.95 * own[1:] + 0.3 * own[:-1]
    assert diagnostics_of(model_of(own)).frame["ljung_box"].max() < 1e-6


def test_heavier_tails_than_fitted_are_found():
    heavy = np.random.default_rng(3).standard_t(3.5, (BARS, 2)) * np.sqrt(1.5 / 3.5)
    wrong = diagnostics_of(model_of(heavy)).frame
    assert (wrong["lower_tail"] > 1.2).all()
    assert (wrong["pit"] < 0.01).all()
    assert (wrong["excess_kurtosis"] > 2.0).all()
    law = Innovations("t", np.array([3.5]))
    right = diagnostics_of(model_of(heavy, (law, law))).frame
    assert (right["pit"] > 0.01).all()


def test_a_correlation_that_changed_is_found_and_a_steady_one_is_not():
    own = draws(3)
    own[BARS // 2 :, 1] = 0.8 * own[BARS // 2 :, 0] + 0.6 * own[BARS // 2 :, 1]
    changes = diagnostics_of(model_of(own)).frame["correlation_change"]
    assert changes[0] > 10.0
    assert changes[1] > 10.0
    assert changes[2] < 4.0


@pytest.mark.parametrize(
    ("law", "theirs"),
    [
        (Innovations("t", np.array([5.0])), lambda z: stats.t(5.0, scale=np.sqrt(0.6)).cdf(z)),
        (NORMAL, stats.norm.cdf),
        (
            Innovations("skewt", np.array([6.0, -0.2])),
            lambda z: SkewStudent().cdf(z, np.array([6.0, -0.2])),
        ),
    ],
)
def test_the_transform_is_the_distribution_function_of_arch_and_scipy(law, theirs):
    z = np.linspace(-5.0, 5.0, 101)
    assert transform(law, z) == pytest.approx(theirs(z), abs=2e-6)


def test_half_lives_are_of_persistence():
    for persistence, wanted in ((0.5, 1.0), (0.98, 34.3096), (1.0, np.inf), (1.02, np.inf)):
        frame = diagnostics_of(model_of(draws(), persistence=persistence)).frame
        assert frame["half_life"].tolist() == pytest.approx([wanted] * 2, rel=1e-5)


def test_quantiles_pair_residuals_with_the_fitted_law():
    found = diagnostics_of(model_of(draws(bars=400))).quantiles("a0")
    assert found["residual"].is_monotonic_increasing
    shares = (np.arange(400) + 0.5) / 400
    assert found["fitted"].to_numpy() == pytest.approx(stats.norm.ppf(shares), abs=1e-9)


def test_autocorrelations_are_plain_sums():
    own = draws(bars=300)
    found = diagnostics_of(model_of(own), lags=3).autocorrelations("a1")
    z = own[:, 1] - own[:, 1].mean()
    wanted = [(z[lag:] @ z[:-lag]) / (z @ z) for lag in (1, 2, 3)]
    assert found["residuals"].to_numpy() == pytest.approx(wanted)


def test_halted_bars_are_left_out():
    own = draws()
    own[500:600, 0] = 0.0
    model = model_of(own)
    found = diagnostics_of(model)
    assert model.halted[:, 0].sum() > 50
    assert found.frame["observations"].tolist() == [BARS - int(model.halted[:, 0].sum()), BARS]


def test_charts_are_drawn_and_a_name_is_plain_text():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = diagnostics_of(model_of(draws(bars=300)))
    figure = found.plot("a0")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    assert image.std() > 5.0
    assert figure.axes[0].get_title() == "Quantiles"


@pytest.mark.parametrize("call", ["quantiles", "autocorrelations", "plot"])
def test_an_unknown_asset_is_named(call):
    with pytest.raises(DataError, match="no asset 'x'; it has a0, a1"):
        getattr(diagnostics_of(model_of(draws(bars=100))), call)("x")


def test_a_model_without_history_is_refused():
    with pytest.raises(DataError, match="history has 0"):
        diagnostics_of(make_model(("garch",) * 2))


@pytest.mark.parametrize("given", [{"lags": 0}, {"lags": 1.5}, {"tail": 0.5}, {"tail": 0.0}])
def test_numbers_out_of_range_are_refused(given):
    with pytest.raises(PolicyError):
        diagnostics_of(model_of(draws(bars=100)), **given)
