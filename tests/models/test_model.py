"""MarketModel: which state is provisional."""

from dataclasses import replace

import numpy as np
import pandas as pd

import mcmargin as mm
from tests.helpers.models import make_model


def test_an_equal_copy_of_the_committed_state_is_not_provisional():
    model = make_model(("garch", "gjr"))
    state = model.state
    same = replace(state, prices=state.prices.copy(), variance=state.variance.copy())
    copied = replace(model, state=same)
    assert not copied.provisional
    assert copied.fingerprint() == model.fingerprint()


def test_any_other_state_is_provisional():
    model = make_model(("garch", "gjr"))
    state = model.state
    changes = {
        "as_of": state.as_of + np.timedelta64(1, "h"),
        "prices": state.prices * 1.01,
        "variance": state.variance * 1.01,
        "residuals": state.residuals + 0.1,
    }
    for name, value in changes.items():
        moved = replace(model, state=replace(state, **{name: value}))
        assert moved.provisional, name
        assert moved.fingerprint() != model.fingerprint(), name


def test_an_update_within_the_bar_tells_what_is_new_by_values():
    model = make_model(("garch",))
    row = pd.DataFrame({"a0": [101.0]}, [pd.Timestamp("2020-01-01T12:00")])
    tick = model.update(mm.PriceHistory.from_frame(row), provisional=True)
    again = replace(tick, state=replace(tick.state))
    assert "within the running bar" in tick.update_report(model)
    assert "nothing new" in again.update_report(tick)
