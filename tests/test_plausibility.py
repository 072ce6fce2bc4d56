"""Figures that cannot be right: refused by default, and taken where a limit is widened by name."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.markets.market import market_of, market_terms

NOW = np.datetime64("2021-01-04")


def market_with(limits=None, **given):
    parts = {"as_of": NOW, "spot": {"btc": 40_000.0}} | given
    return mm.Market(**parts, plausibility=mm.Plausibility(**(limits or {})))


@pytest.mark.parametrize(
    ("given", "limit", "told"),
    [
        # Deribit's mark_iv and DVOL are in percent.
        ({"volatility": {"btc": 65.2}}, {"volatility": 70}, "6,520 % a year.*percent.*0.652"),
        ({"vol_of_vol": {"btc": 120.0}}, {"volatility": 200}, "vol_of_vol.*give 1.2"),
        ({"fx": {"EUR": 1.2}, "fx_volatility": {"EUR": 7.0}}, {"volatility": 8}, "fx_volatility"),
        ({"rates": {"USD": 5.0}}, {"rate": 5}, "rate of 'USD' is 5, which is 500 % a year"),
        ({"rates": {"CHF": -1.25}}, {"rate": 2}, "rate of 'CHF'.*give -0.0125"),
        ({"carry": {"btc": 12.0}}, {"rate": 12}, "carry of 'btc'.*give 0.12"),
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
    assert market_with(volatility={"btc": level}).level_of("btc") == level


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
    with pytest.raises(mm.PolicyError, match="still_bars must be an integer of 2 or more"):
        mm.Plausibility(still_bars=1)
    path = tmp_path / "market.toml"
    text = "as_of = 2021-01-04\nspot = { btc = 40000 }\nvolatility = { btc = 7 }\n"
    path.write_text(text)
    with pytest.raises(mm.DataError, match=r"market.toml: .*\[plausibility\] volatility = 7.4"):
        mm.read_market(path)
    path.write_text(f"{text}[plausibility]\nvolatility = 8\nstill_bars = 30\n")
    assert mm.read_market(path).plausibility == mm.Plausibility(volatility=8, still_bars=30)
    path.write_text(f"{text}[plausibility]\nvolatilty = 8\n")
    with pytest.raises(mm.DataError, match="'volatilty' is no limit; it is one of volatility, ra"):
        mm.read_market(path)


def test_limits_come_back_from_a_report_and_usual_ones_leave_no_trace():
    wide = market_with({"volatility": 8}, volatility={"btc": 7.0})
    again = market_of(NOW, market_terms(wide))
    assert again.plausibility == wide.plausibility
    assert again.fingerprint() == wide.fingerprint()
    assert "plausibility" not in market_terms(market_with())
