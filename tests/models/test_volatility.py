"""The table of volatility kinds against arch, and the recursions against each other."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arch import univariate
from arch.data import sp500

import mcmargin as mm
from mcmargin.cli import options
from mcmargin.models.arch_fits import arch_model_of
from mcmargin.models.fitting import fit_asset, start_values
from mcmargin.models.refiltering import refilter
from mcmargin.models.variance_outlook import variance_outlook
from mcmargin.models.volatility import COEFFICIENTS, KINDS, Recursion, VolatilityKind, volatility_of
from tests.helpers.models import RECURSIONS, make_model

ARCH_NAMES = {"omega": "omega", "alpha[1]": "alpha", "gamma[1]": "gamma", "beta[1]": "beta",
              "sigma2": "omega"}  # fmt: skip


def test_every_kind_is_in_the_tests_and_in_both_helps():
    assert set(KINDS) == set(RECURSIONS)
    *rest, last = KINDS
    assert f"{', '.join(rest)} or {last}." in inspect.getsource(options)
    assert all(f"`{kind}`" in str(mm.calibrate.__doc__) for kind in KINDS)


def test_the_docstring_names_every_file_that_tells_recursions_apart():
    named = set(re.findall(r"[a-z_/]+\.(?:py|cu)", VolatilityKind.__doc__))
    package = Path(mm.__file__).parent
    readers = re.compile(r"\bRecursion\.|is_logarithmic|\.egarch\b")
    asking = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if readers.search(path.read_text("utf-8"))
    }
    own = "models/volatility.py"
    assert asking - {own} == {each for each in named if (package / each).exists()} - {own}


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_are_those_of_arch_in_its_order(kind):
    names = KINDS[kind].process(univariate).parameter_names()
    assert [ARCH_NAMES[name] for name in names] == list(KINDS[kind].fitted)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_that_a_kind_lacks_are_0(kind):
    own = KINDS[kind].coefficients
    for name, value in zip(COEFFICIENTS, RECURSIONS[kind], strict=True):
        assert (value == 0.0) == (name not in own), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_recursion_by_innovations_is_that_by_returns(kind):
    law = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    h, z = np.geomspace(2e-5, 1e-2, 7)[:, None], np.linspace(-6.0, 6.0, 9)
    by_returns = law.next_variance(h[..., None], (z * np.sqrt(h))[..., None])[..., 0]
    by_innovations = np.broadcast_to(law.recursion(0)(h, z), by_returns.shape)
    expected = np.maximum(by_innovations, law.floor[0])
    np.testing.assert_allclose(by_returns, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if KINDS[kind].recursion is Recursion.LINEAR]
)
def test_persistence_is_the_share_of_an_excess_that_is_left_on_average(kind):
    """E[h'] of two variances, with innovations of variance 1 of which half lies below 0."""
    law = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    z = np.array([-1.0, 1.0])
    low, high = (float(law.recursion(0)(np.array([[h]]), z).mean()) for h in (1e-4, 3e-4))
    assert (high - low) / 2e-4 == pytest.approx(law.persistence(0), abs=1e-12)


NEW = {
    "ewma97": VolatilityKind(
        lambda arch: arch.EWMAVariance(0.97), (), {"alpha": 0.03, "beta": 0.97}, integrated=True
    ),
    "arch": VolatilityKind(lambda arch: arch.ARCH(1), ("omega", "alpha")),
    "level": VolatilityKind(lambda arch: arch.ConstantVariance(), ("omega",)),
    "egarch_without_sign": VolatilityKind(
        lambda arch: arch.EGARCH(p=1, o=0, q=1),
        ("omega", "alpha", "beta"),
        recursion=Recursion.LOGARITHMIC,
    ),
}
"""Kinds that follow one of the recursions that are there, as their rows in `KINDS`."""


@pytest.fixture(params=NEW)
def new_model(request, monkeypatch):
    """A model that is fitted with a kind that was added to `KINDS`, and its returns."""
    monkeypatch.setitem(KINDS, request.param, NEW[request.param])
    closes = sp500.load()["Adj Close"].iloc[-1200:].to_frame("sp500")
    options = {"innovations": "normal", "dependence": "gaussian", "jobs": 1}
    model = mm.calibrate(mm.PriceHistory.from_frame(closes), volatility=request.param, **options)
    return model, closes["sp500"].pct_change().dropna().to_numpy()


def test_a_kind_needs_its_row_in_the_table_and_no_more_code(new_model, tmp_path):
    """It is fitted, saved, loaded and simulated; arch finds the same fit and expects the same."""
    model, returns = new_model
    (kind,) = model.volatility.kinds
    assert kind in NEW
    assert not model.facts["fits"]["sp500"]["refused"]
    model.save(tmp_path / "model.npz")
    model = mm.load_model(tmp_path / "model.npz")
    ours = [getattr(model.volatility, name)[0] for name in NEW[kind].fitted]
    scaled = arch_model_of(returns / returns.std(), kind, "normal")
    start = start_values(model, "sp500", kind, "normal")
    if start is not None:
        best = scaled.fit(disp="off").loglikelihood
        assert scaled.fix(start).loglikelihood == pytest.approx(best, abs=1e-6)
    peer = arch_model_of(returns, kind, "normal").fix(ours)
    ahead = peer.forecast(horizon=1, reindex=False).variance.to_numpy()[0]
    np.testing.assert_allclose(model.state.variance, ahead, rtol=1e-8)
    paths = mm.simulate(model, horizons=(1, 2, 3), paths=20_000, seed=5, precision="double")
    last = paths.returns[2, 0]
    variances = peer.forecast(
        horizon=3, method="simulation", simulations=20_000, reindex=False,
        random_state=np.random.RandomState(1),
    ).variance.to_numpy()[0]  # fmt: skip
    error = np.std(last**2) / np.sqrt(len(last))
    assert abs(np.mean(last**2) - variances.sum()) < 4 * np.sqrt(2) * error


def test_later_variances_of_a_new_kind_are_those_that_arch_expects(new_model):
    """The average over ten bars, without a cap. arch has no formula for EGARCH, and simulates."""
    model, returns = new_model
    (kind,), law = model.volatility.kinds, model.innovations[0]
    today = float(model.state.variance[0])
    ours = variance_outlook(model.volatility, 0, law, today, bars=10).average_today(0, 10.0)
    own = [getattr(model.volatility, name)[0] for name in NEW[kind].fitted]
    linear = NEW[kind].recursion is Recursion.LINEAR
    method = {"method": "analytic"} if linear else {"method": "simulation", "simulations": 50_000}
    peer = arch_model_of(returns, kind, "normal").fix(own)
    expected = peer.forecast(
        horizon=10, reindex=False, random_state=np.random.RandomState(1), **method
    ).variance.to_numpy()[0]
    assert ours == pytest.approx(expected.mean(), rel=1e-6 if linear else 0.01)


def test_bars_three_times_as_long_leave_an_integrated_kinds_coefficients(new_model):
    model, returns = new_model
    (kind,) = model.volatility.kinds
    fit = fit_asset(returns, kind, "normal")
    longer = refilter(fit, np.sqrt(3.0) * returns, ratio=3.0, bars=3.0)
    if NEW[kind].integrated:
        np.testing.assert_array_equal(longer.parameters, fit.parameters)
    assert longer.persistence == pytest.approx(fit.persistence**3)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_constant_variance_stands_still(kind):
    law = volatility_of((kind,), np.array([RECURSIONS[kind]]), np.full(1, 1e-4))
    ahead = law.next_variance(np.array([[1e-4], [1e-4]]), np.array([[0.0], [0.03]]))
    assert (ahead[0] != ahead[1]).any() == KINDS[kind].moves


@pytest.mark.parametrize("kind", ["constant", "level"])
def test_a_constant_variance_has_no_chain_and_an_omega(kind, monkeypatch, tmp_path):
    """A shock that something else drives does not fade; and a variance of 0 is refused."""
    monkeypatch.setitem(KINDS, "level", NEW["level"])
    monkeypatch.setitem(RECURSIONS, "level", RECURSIONS["constant"])
    model = make_model((kind,))
    outlook = variance_outlook(model.volatility, 0, model.innovations[0], 1e-4, bars=10, cap=100.0)
    assert (outlook.moves, outlook.chain, outlook.fading(10.0)) == (False, None, 1.0)
    still = replace(model, volatility=replace(model.volatility, omega=np.zeros(1)))
    still.save(tmp_path / "still.npz")
    with pytest.raises(mm.ModelFileError, match=r"volatility\.omega"):
        mm.load_model(tmp_path / "still.npz")
