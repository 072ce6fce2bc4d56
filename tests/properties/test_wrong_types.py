"""Arguments of the wrong type: the first mistakes at each public function name the way out."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.markets.model_prices import market_of_model
from tests.helpers.models import make_model


@pytest.fixture(scope="module")
def m():
    """One of each, as they should be."""
    rows = {"account": ["a"], "instrument": ["a0"], "quantity": [10.0]}
    dates = pd.date_range("2020-01-02", periods=2)
    model, frame = make_model(), pd.DataFrame(rows)
    book = mm.Book.from_frame(frame)
    scenarios = mm.simulate(model, paths=1000, seed=1, engine="numpy")
    gaps = mm.MarginPolicy(stress=mm.Stress(gaps=(mm.Gap("a0", -0.1),)))
    return SimpleNamespace(
        closes=pd.DataFrame({"a0": [100.0, 101.0]}, index=dates),
        model=model,
        frame=frame,
        book=book,
        scenarios=scenarios,
        market=market_of_model(scenarios.model),
        policy=mm.MarginPolicy(),
        report=mm.margin(book, scenarios),
        stress=mm.stress(book, scenarios, policy=gaps),
    )


OF_DATA = {
    "prices of nothing": (
        lambda m: mm.read_prices(None),
        "path must be of type str or PathLike, not NoneType",
    ),
    "prices from a frame": (
        lambda m: mm.calibrate(m.closes),
        "prices must be of type PriceHistory, not DataFrame; PriceHistory.from_frame takes",
    ),
    "warm start from a file": (
        lambda m: mm.calibrate(mm.PriceHistory.from_frame(m.closes), warm_start="model.npz"),
        "warm_start must be of type MarketModel, not str; load_model reads a file",
    ),
    "update by a frame": (
        lambda m: m.model.update(m.closes),
        "prices must be of type PriceHistory, not DataFrame; PriceHistory.from_frame takes",
    ),
    "prices of a series": (
        lambda m: mm.PriceHistory.from_frame(m.closes["a0"]),
        "frame: a Series; give a DataFrame, such as series.to_frame('btc')",
    ),
    "prices of a dict": (
        lambda m: mm.PriceHistory.from_frame({"a0": [1.0]}),
        "frame must be of type DataFrame, not dict; pandas.DataFrame(...) makes one",
    ),
    "simulate a file": (
        lambda m: mm.simulate("model.npz", paths=1000, seed=1),
        "model must be of type MarketModel, not str; load_model reads a file",
    ),
    "book of a list": (
        lambda m: mm.Book.from_frame([("a", "a0", 1.0)]),
        "frame must be of type DataFrame, not list; pandas.DataFrame(...) makes one",
    ),
    "orders of a list": (
        lambda m: mm.Book.from_frame(m.frame, orders=[]),
        "orders must be of type DataFrame, not list",
    ),
    "instruments from a file's name": (
        lambda m: mm.Book.from_frame(m.frame, instruments="instruments.toml"),
        "must be of type Spot, Perpetual, Future or Option, not str; give such objects, as read_in",
    ),
    "accounts from a file's name": (
        lambda m: mm.Book.from_frame(m.frame, accounts="accounts.csv"),
        "must be of type Account, not str; give Account objects, such as read_accounts reads",
    ),
    "margin a file": (
        lambda m: mm.margin("positions.csv", m.scenarios),
        "book must be of type Book, not str; read_positions reads a file",
    ),
    "margin on a model": (
        lambda m: mm.margin(m.book, m.model),
        "scenarios must be of type Scenarios, not MarketModel; simulate(...) makes them",
    ),
    "a policy in the market's place": (
        lambda m: mm.margin(m.book, m.scenarios, m.policy),
        "market must be of type Market, not MarginPolicy; read_market reads a file; a policy goes "
        "by its name, policy=...",
    ),
    "the last report's file": (
        lambda m: mm.margin(m.book, m.scenarios, previous="report.json"),
        "previous must be of type MarginReport, not str; margin(...) makes one, and MarginReport.",
    ),
    "stress with a policy in the market's place": (
        lambda m: mm.stress(m.book, m.scenarios, m.policy),
        "market must be of type Market, not MarginPolicy",
    ),
    "verify a dict": (
        lambda m: mm.verify({}, m.model, m.book),
        "report must be of type MarginReport, not dict; margin(...) makes one, and MarginReport.fr",
    ),
    "verify with a file": (
        lambda m: mm.verify(m.report, "model.npz", m.book),
        "model must be of type MarketModel, not str",
    ),
    "resources of two margins": (
        lambda m: mm.resources(m.report, m.report),
        "stress must be of type StressReport, not MarginReport; stress(...) makes one",
    ),
    "resources of a file": (
        lambda m: mm.resources("report.json", m.report),
        "report must be of type MarginFigures, not str; margin(...) makes a MarginReport, which",
    ),
    "attribute to a frame": (
        lambda m: mm.attribute(m.report, m.frame),
        "report must be of type MarginReport, not DataFrame",
    ),
    "greeks of a frame": (
        lambda m: mm.greeks_frame(m.frame, m.market),
        "book must be of type Book, not DataFrame",
    ),
    "trades in words": (
        lambda m: m.report.what_if("a", "text"),
        "what_if: trades must map instruments to units, such as {'btc': -2}, not 'text'",
    ),
    "units in words": (
        lambda m: m.report.what_if("a", {"a0": "two"}),
        "what_if: 'two' units of 'a0' are not a finite number",
    ),
    "no units": (
        lambda m: m.report.what_if("a", {"a0": None}),
        "what_if: None units of 'a0' are not a finite number",
    ),
    "equity in words": (
        lambda m: m.report.max_order("a", "a0", side="buy", equity="1000"),
        "max_order: equity must be a finite number, not '1000'",
    ),
    "a lot in words": (
        lambda m: m.report.max_order("a", "a0", side="buy", equity=1000.0, lot="1"),
        "max_order: lot must be a finite number above 0, not '1'",
    ),
    "no losses at risk": (lambda m: mm.value_at_risk([], level=0.99), "no losses; give an array"),
    "no losses": (lambda m: mm.expected_shortfall([], level=0.99), "no losses; give an array"),
    "one number": (lambda m: mm.expected_shortfall(1.0, level=0.99), "no losses; give an array"),
    "losses in words": (
        lambda m: mm.value_at_risk(["a", "b"], level=0.99),
        "losses must be real numbers, not text",
    ),
    "losses of several": (
        lambda m: mm.estimate_tail(np.ones((2, 100)), level=0.99),
        "losses of shape (2, 100) are of several accounts; give one's",
    ),
    "a loss that is NaN": (
        lambda m: mm.value_at_risk([1.0] * 99 + [np.nan], level=0.99),
        "a loss is not finite; check quantities and prices",
    ),
}
OF_POLICY = {
    "horizons in a policy": (
        lambda m: mm.MarginPolicy(horizons=2),
        "horizons must be a mapping of product classes to bars, such as {'option': 5}, not 2; give "
        "one for all as horizon=",
    ),
    "a part of a policy": (
        lambda m: mm.MarginPolicy(leverage=10),
        "leverage must be of type Leverage, not int",
    ),
    "a policy's file": (
        lambda m: mm.margin(m.book, m.scenarios, policy="policy.toml"),
        "policy must be of type MarginPolicy, not str; MarginPolicy(...) makes one, and MarginPoli",
    ),
    "a policy's file to simulate": (
        lambda m: mm.simulate(m.model, paths=1000, seed=1, policy="policy.toml"),
        "policy must be of type MarginPolicy, not str",
    ),
    "a policy's file for resources": (
        lambda m: mm.resources(m.report, m.stress, "policy.toml"),
        "policy must be of type MarginPolicy, not str",
    ),
    "one horizon": (
        lambda m: mm.simulate(m.model, horizons=2, paths=1000, seed=1),
        "horizons must be several whole numbers of bars, such as (1, 2), not 2; give one as horizo",
    ),
    "half a bar": (
        lambda m: mm.simulate(m.model, horizons=(2.5,), paths=1000, seed=1),
        "horizon must be an integer of 1 or more, not 2.5",
    ),
    "a cap in words": (
        lambda m: mm.simulate(m.model, horizon=1, paths=1000, seed=1, variance_cap="100"),
        "variance_cap must be a number, not '100'",
    ),
    "a floor in words": (
        lambda m: mm.simulate(m.model, horizon=1, paths=1000, seed=1, price_floor="low"),
        "price_floor must be a number, not 'low'",
    ),
    "a half-life in words": (
        lambda m: mm.calibrate(
            mm.PriceHistory.from_frame(m.closes), correlation_half_life="a month"
        ),
        "correlation_half_life must be a number, not 'a month'",
    ),
    "level in words": (
        lambda m: mm.value_at_risk([1.0] * 100, level="0.99"),
        "level must lie between 0.5 and 1 (0.99 is 99 %), not '0.99'",
    ),
}


@pytest.mark.parametrize("case", list(OF_DATA))
def test_wrong_data_are_refused_by_name(case, m):
    call, message = OF_DATA[case]
    with pytest.raises(mm.DataError, match=re.escape(message)):
        call(m)


@pytest.mark.parametrize("case", list(OF_POLICY))
def test_policies_and_plans(case, m):
    call, message = OF_POLICY[case]
    with pytest.raises(mm.PolicyError, match=re.escape(message)):
        call(m)


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_devices_without_a_gpu(engine, m, monkeypatch):
    monkeypatch.setenv("MCMARGIN_ENGINE", "numpy")
    with pytest.raises(mm.EngineError, match="devices are GPUs, and the engine here is numpy; lea"):
        mm.simulate(m.model, paths=1000, seed=1, engine=engine, devices=(0,))


def test_several_horizons_of_any_kind(m):
    for horizons in ([1, 2], np.array([1, 2]), range(1, 3)):
        plan = mm.simulate(m.model, horizons=horizons, paths=1000, seed=1, engine="numpy").plan
        assert plan.horizons == (1, 2)
