"""Sets of stress scenarios: what they move, and what they leave."""

from dataclasses import replace

import numpy as np

import mcmargin as mm
from mcmargin.stresses.stress_scenarios import basis_walks
from mcmargin.valuing.shocked_market import ShockedMarket

AS_OF = np.datetime64("2020-01-01", "ns")
MARKET = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 50.0})
FUTURE = mm.Future("F", "a0", "2020-03-01", carry=0.1)


def test_a_basis_of_futures_grows_with_their_time_to_expiry():
    """5 % a year: 60 days away exp(0.05 x 60/365), 29 days exp(0.05 x 29/365); spot stays."""
    near = replace(FUTURE, name="N", expiry=np.datetime64("2020-01-30", "ns"))
    still = replace(FUTURE, name="Q", basis_volatility=0.0)
    moves = {"a0": np.array([0.05, 0.0, -0.05])}
    option = mm.Option("O", "a0", "put", 90.0, near.expiry, future=near)
    walks = basis_walks([FUTURE, option, still, mm.Perpetual("P", "a1")], moves, AS_OF, AS_OF)
    given = ShockedMarket(MARKET, AS_OF, 0, 3, {}, {}, {}, walks)
    for item, days in ((FUTURE, 60), (near, 29)):
        start = 100.0 * np.exp(0.1 * days / 365)
        expected = start * np.exp(np.array([0.05, 0.0, -0.05]) * days / 365)
        np.testing.assert_allclose(item.price_on(given), expected, rtol=1e-14)
    assert set(walks) == {"F", "N"}
    np.testing.assert_array_equal(still.gain(given), np.zeros(3))
