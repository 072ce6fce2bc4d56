"""The market where nobody gives one: the model's own latest prices."""

import pandas as pd

import mcmargin as mm
from mcmargin.markets.model_prices import market_of_model
from tests.helpers.models import make_model


def test_prices_are_those_of_the_last_close_or_tick():
    model = make_model(("garch", "ewma"))
    given = mm.Market(as_of="2020-01-01", spot={"a0": 100.0, "a1": 100.0})
    assert market_of_model(model).fingerprint() == given.fingerprint()
    closes = pd.DataFrame({"a0": [101.0], "a1": [99.0]}, index=["2020-01-02"])
    later = model.update(mm.PriceHistory.from_frame(closes))
    assert market_of_model(later).spot == {"a0": 101.0, "a1": 99.0}
    assert market_of_model(later).as_of == later.as_of


def test_it_is_the_market_of_a_margin_that_is_given_none():
    scenarios = mm.simulate(make_model(("garch",)), horizon=1, paths=2000, seed=1)
    rows = pd.DataFrame({"account": ["x"], "instrument": ["a0"], "quantity": [2.0]})
    book, market = mm.Book.from_frame(rows), market_of_model(scenarios.model)
    policy = mm.MarginPolicy(level=0.9)
    ours, given = (
        mm.margin(book, scenarios, policy=policy),
        mm.margin(book, scenarios, market, policy),
    )
    pd.testing.assert_frame_equal(ours.figures, given.figures, check_exact=True)
    assert ours.fingerprints["market"] == market.fingerprint()
