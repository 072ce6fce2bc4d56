"""Figures that cannot be right: refused by default, and taken where a limit is widened by name."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bars import BarCalendar
from mcmargin.markets.market_terms import market_of, market_terms
from tests.helpers.books import book_of
from tests.helpers.models import make_model

NOW = np.datetime64("2021-01-04")


def market_with(limits=None, **given):
    parts = {"as_of": NOW, "spot": {"btc": 40_000.0}} | given
    return mm.Market(**parts, plausibility=mm.Plausibility(**(limits or {})))


@pytest.mark.parametrize(
    ("given", "limit", "told"),
    [
        # Deribit's mark_iv and DVOL are in percent.
        ({"volatility": {"btc": 65.2}}, {"volatility": 70}, "6,520 % a year.*percent.*0.652"),
        ({"vol_of_vol": {"btc": 90.0}}, {"volatility": 100}, "vol_of_vol.*give 0.9"),
        ({"fx": {"EUR": 1.2}, "fx_volatility": {"EUR": 7.0}}, {"volatility": 8}, "fx_volatility"),
        ({"rates": {"USD": 5.0}}, {"rate": 5}, "rate of 'USD' is 5, which is 500 % a year"),
        ({"rates": {"CHF": -1.25}}, {"rate": 2}, "rate of 'CHF'.*give -0.0125"),
        ({"carry": {"btc": 7.0}}, {"rate": 8}, "carry of 'btc'.*give 0.07"),
    ],
)
def test_percentages_are_refused_and_taken_by_name(given, limit, told):
    with pytest.raises(mm.DataError, match=told):
        market_with(**given)
    wide = market_with(limit, **given)
    assert wide.plausibility.widened() == limit


@pytest.mark.parametrize("level", [0.05, 0.8, 2.5, 5.0])
def test_volatilities_of_real_markets_are_taken(level):
    """VIX at its lowest and its highest close (9.14 and 82.69), meme stocks at 250 %."""
    assert market_with(volatility={"btc": level}).volatility_of("btc") == level


def test_a_surface_in_percent_is_refused():
    rows = [("2021-03-26", -0.1, 66.0), ("2021-03-26", 0.1, 65.0)]
    frame = pd.DataFrame(rows, columns=["expiry", "log_moneyness", "volatility"])
    with pytest.raises(mm.DataError, match="percent"):
        surface = mm.VolatilitySurface.from_quotes(frame, as_of=NOW, repair=True)
        market_with(volatility={"btc": surface})


def surface_at(forward):
    rows = [("2021-03-26", 0.9 * forward, 0.8, forward), ("2021-03-26", forward, 0.75, forward)]
    frame = pd.DataFrame(rows, columns=["expiry", "strike", "volatility", "forward"])
    return mm.VolatilitySurface.from_quotes(frame, as_of=NOW)


def test_a_surface_of_another_asset_is_refused():
    """Ether's quotes under bitcoin; and bitcoin's in contango of 30 % a year, which are its own."""
    with pytest.raises(mm.DataError, match=r"forward of 2500 at 2021-03-26.*spot price is 40000"):
        market_with(volatility={"btc": surface_at(2500.0)})
    market_with(volatility={"btc": surface_at(40_000 * np.exp(0.3 * 81 / 365))})
    market_with({"forward_difference": 20}, volatility={"btc": surface_at(2500.0)})


def test_a_rate_and_the_asset_that_is_it_agree():
    """150 yen a dollar against 1/150 of a dollar a yen; and 2 % apart, as two sources are."""
    given = {"fx": {"JPY": 1 / 150}, "fx_asset": {"JPY": "usdjpy"}}
    with pytest.raises(mm.DataError, match=r"'JPY' is 0.00666667 in fx.*'usdjpy' is 150.*inverse"):
        market_with(spot={"usdjpy": 150.0}, **given)
    with pytest.raises(mm.DataError, match="one of them is wrong"):
        market_with(spot={"usdjpy": 0.01}, **given)
    market_with(spot={"usdjpy": 1.02 / 150}, **given)
    market_with({"fx_difference": 1}, spot={"usdjpy": 0.01}, **given)


def test_limits_are_numbers_and_named(tmp_path):
    with pytest.raises(mm.PolicyError, match=r"volatility must be a number from 0 to 1e\+09"):
        mm.Plausibility(volatility=float("nan"))
    with pytest.raises(mm.PolicyError, match="still_bars must be an integer of 3 or more"):
        mm.Plausibility(still_bars=1)
    path = tmp_path / "market.toml"
    text = "as_of = 2021-01-04\nspot = { btc = 40000 }\nvolatility = { btc = 7 }\n"
    path.write_text(text)
    with pytest.raises(
        mm.DataError, match=r"market.toml: .*volatility = 7.4 in the market file's \[plaus"
    ):
        mm.read_market(path)
    path.write_text(f"{text}[plausibility]\nvolatility = 8\nstill_bars = 30\n")
    assert mm.read_market(path).plausibility == mm.Plausibility(volatility=8, still_bars=30)
    path.write_text(f"{text}[plausibility]\nvolatilty = 8\n")
    with pytest.raises(
        mm.DataError, match="'volatilty' is not a limit; it is one of volatility, ra"
    ):
        mm.read_market(path)


def test_limits_come_back_from_a_report_and_usual_ones_leave_no_trace():
    wide = market_with({"volatility": 8}, volatility={"btc": 7.0})
    again = market_of(NOW, market_terms(wide))
    assert again.plausibility == wide.plausibility
    assert again.fingerprint() == wide.fingerprint()
    assert "plausibility" not in market_terms(market_with())


MODEL = make_model(("garch", "garch", "garch"))  # closes of 100 on 2020-01-01, 1 % a day


def margined(limits=None, *, policy=None, model=MODEL, items=None, days=0.0, **given):
    """A report of one unit of the first asset in a market some days after the model."""
    stamp = model.as_of + np.timedelta64(round(days * 86_400), "s")
    parts = {"as_of": stamp, "spot": dict.fromkeys(model.assets, 100.0)} | given
    market = mm.Market(**parts, plausibility=mm.Plausibility(**(limits or {})))
    name = model.assets[0] if items is None else items[0].name
    book = book_of([("x", name, 1.0)], items)
    scenarios = mm.simulate(model, horizon=1, paths=1000, seed=7)
    return mm.margin(book, scenarios, market, policy)


def test_a_market_before_its_model_is_refused():
    """By an hour or a month, naming both; the date alone of the model's own day is not before."""
    for days in (-1 / 24, -30.0):
        with pytest.raises(mm.DataError, match=r"state of 2020-01-01 is .*market of 2019-1"):
            margined(days=days)
    margined({"market_before_days": 31}, days=-30.0)
    # A policy's age says how old a state may be; no state may know the future.
    with pytest.raises(mm.DataError, match="newer than the market"):
        margined(days=-1.0, policy=mm.MarginPolicy(max_age_days=5))
    evening = replace(
        MODEL, committed=(state := replace(MODEL.state, as_of=np.datetime64("2020-01-01T21", "ns")))
    )
    evening = replace(evening, state=state)
    margined(model=evening, as_of=np.datetime64("2020-01-01"))
    with pytest.raises(mm.DataError, match="newer than the market"):
        margined(model=evening, as_of=np.datetime64("2020-01-01T18"))


def test_a_market_long_after_its_model_is_refused():
    """Ten days by default; as the policy says where it does; two bars where bars are longer."""
    margined(days=9.9)
    with pytest.raises(mm.DataError, match=r"of 2020-01-01 is 11.0 days older .* of 2020-01-12"):
        margined(days=11)
    margined(days=11, policy=mm.MarginPolicy(max_age_days=12))
    margined({"market_after_days": 12}, days=11)
    with pytest.raises(mm.DataError, match="the policy allows 2"):
        margined(days=3, policy=mm.MarginPolicy(max_age_days=2))
    monthly = replace(MODEL, calendar=BarCalendar(days=30.4, mean=30.4))
    margined(model=monthly, days=45)
    with pytest.raises(mm.DataError, match="older than the market"):
        margined(model=monthly, days=70)


@pytest.mark.parametrize("price", [1.0, 10.0, 49.9, 151.0, 1000.0, 10_000.0])
def test_a_price_far_from_the_models_is_refused(price):
    """Pence for pounds, a misplaced digit, a split: at 1 % a day each is 50 deviations off."""
    spot = {"a0": price, "a1": 100.0, "a2": 100.0}
    with pytest.raises(
        mm.DataError, match=rf"'a0' is {price:g}.*2020-01-01 100: a move of .*split"
    ):
        margined(spot=spot)
    assert margined({"move": 100}, spot=spot).account("x").gross_exposure == price
    assert margined({"move_deviations": 1e5}, spot=spot).account("x").gross_exposure == price


@pytest.mark.parametrize(("price", "deviation"), [(60.5, 0.02), (149.0, 0.01), (241.0, 0.13)])
def test_real_days_are_no_misplaced_digits(price, deviation):
    """Bitcoin on 2020-03-12 (-39.5 %), and dogecoin on 2021-01-28 (+141 %) once it was wild."""
    model = make_model(("garch",), variance=deviation**2)
    margined(model=model, spot={"a0": price})


def test_prices_that_changed_places_are_named():
    state = replace(MODEL.state, prices=np.array([40_000.0, 2_500.0, 1.0]))
    model = replace(MODEL, committed=state, state=state)
    spot = {"a0": 2_510.0, "a1": 39_000.0, "a2": 1.0}
    with pytest.raises(mm.DataError, match="'a0' and 'a1' look swapped: they are 2510 and 39000"):
        margined(model=model, spot=spot)
    margined(model=model, spot={"a0": 39_000.0, "a1": 2_510.0, "a2": 1.0})


def test_a_rate_that_is_the_inverse_of_the_models_is_refused():
    """Yen and euro by their own name, and by fx_asset where the market has no price of it."""
    for close, name in ((150.0, "JPY"), (0.83, "EUR")):
        state = replace(MODEL.state, prices=np.array([close, 100.0, 100.0]))
        assets = (name, "a1", "a2")
        model = replace(MODEL, assets=assets, committed=state, state=state)
        others = {"a1": 100.0, "a2": 100.0}
        items = [mm.Spot("cash", name)]
        with pytest.raises(mm.DataError, match="inversely"):
            margined(model=model, items=items, spot=others, fx={name: 1 / close})
        margined(model=model, items=items, spot=others, fx={name: close})
        pair = replace(model, assets=("pair", "a1", "a2"))
        given = {"spot": others, "fx": {name: 1 / close}, "fx_asset": {name: "pair"}}
        with pytest.raises(mm.DataError, match=rf"'{name}' is .*'pair' is {close:g}.*inversely"):
            margined(model=pair, items=items, **given)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (mm.Perpetual("P", "a0", basis_volatility=6.0), "basis_volatility is 6.*percent"),
        (mm.Future("F", "a0", expiry="2020-06-26", carry=7.0), "carry is 7.*percent"),
        (mm.Perpetual("P", "a0", price_asset="a1"), "own price 'a1' is 10, and .*'a0' costs 100"),
    ],
)
def test_terms_of_instruments_are_plausible(item, told):
    spot = {"a0": 100.0, "a1": 10.0, "a2": 100.0}
    limits = {"move": 1}
    with pytest.raises(mm.DataError, match=told):
        margined(limits, items=[item], spot=spot)
    wide = limits | {"rate": 20, "volatility": 10, "forward_difference": 10}
    margined(wide, items=[item], spot=spot)


def test_stress_looks_at_the_market_as_margins_do():
    market = mm.Market(as_of=MODEL.as_of, spot={"a0": 1.0, "a1": 100.0, "a2": 100.0})
    book = book_of([("x", "a0", 1.0)])
    policy = mm.MarginPolicy(stress=mm.Stress(gaps=(mm.Gap("a0", -0.3),)))
    scenarios = mm.simulate(MODEL, horizon=1, paths=1000, seed=7)
    with pytest.raises(mm.DataError, match="misplaced digit"):
        mm.stress(book, scenarios, market, policy)
