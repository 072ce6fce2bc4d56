"""A value that is pickled (to another process, to a cache) or copied in depth is the same value."""

import copy
import pickle
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.models.history import History
from tests.helpers.models import make_model, with_history

COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy}


def later(*rows):
    index = pd.to_datetime([date for date, *_ in rows])
    frame = pd.DataFrame([closes for _, *closes in rows], index=index, columns=["a0", "a1"])
    return mm.PriceHistory.from_frame(frame)


def closed():
    model = make_model(("garch", "egarch"), innovations="skewt", dependence="t")
    return with_history(model, np.full((30, 2), 0.01), np.full((30, 2), 1e-4))


def updated():
    return closed().update(later(("2020-01-02", 101.0, 99.0)))


def provisional():
    prices = later(("2020-01-02", 101.0, 99.0), ("2020-01-03", 102.0, 98.0))
    return closed().update(prices, provisional=True)


def market():
    dates = ["2020-03-27", "2020-06-26"]
    quotes = [(date, k, v) for date in dates for k, v in ((-0.2, 0.6), (0.0, 0.5), (0.2, 0.55))]
    frame = pd.DataFrame(quotes, columns=["expiry", "log_moneyness", "volatility"])
    as_of = np.datetime64("2020-01-01", "ns")
    return mm.Market(
        as_of=as_of,
        spot={"a0": 100.0, "a1": 100.0},
        fx={"USDT": 1.0},
        volatility={"a0": mm.VolatilitySurface.from_quotes(frame, as_of=as_of), "a1": 0.4},
        depeg={"USDT": mm.Depeg(0.001, 0.2)},
        liquidity={"a0": mm.InstrumentLiquidity(1e6, bids=((99.0, 5.0),), asks=((101.0, 4.0),))},
    )


def policy():
    return mm.MarginPolicy(
        level=0.975,
        horizons={"option": 5},
        stress=mm.Stress(windows=(mm.StressWindow("w", "2008-01-01", "2008-12-31"),)),
        leverage=mm.Leverage((mm.LeverageTier(float("inf"), 10.0),)),
    )


def prices():
    return later(("2020-01-02", 101.0, np.nan), ("2020-01-03", 102.0, 98.0))


VALUES = (closed, updated, provisional, market, policy, prices)


def require_same(one, other):
    """Compare two values field by field, down to numbers and texts."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif isinstance(one, History):
        for name in ("times", "returns", "variances"):
            require_same(getattr(one, name), getattr(other, name))
    elif is_dataclass(one):
        for each in fields(one):
            require_same(getattr(one, each.name), getattr(other, each.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        require_same(list(one.values()), list(other.values()))
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            require_same(mine, theirs)
    else:
        assert one == other


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("make", VALUES)
def test_a_copy_is_the_same_value(make, way):
    value = make()
    again = COPIES[way](value)
    require_same(value, again)
    if not isinstance(value, mm.PriceHistory):
        assert again.fingerprint() == value.fingerprint()


@pytest.mark.parametrize("way", COPIES)
def test_a_copied_model_goes_on_as_the_model_does(way):
    for model in (closed(), updated(), provisional()):
        again = COPIES[way](model)
        assert again.provisional == model.provisional
        drawn = [
            mm.simulate(each, horizon=2, paths=3000, seed=1).returns for each in (model, again)
        ]
        np.testing.assert_array_equal(*drawn)
        rows = later(("2020-01-02", 101.0, 99.0), ("2020-01-06", 103.0, 97.0))
        assert again.update(rows).fingerprint() == model.update(rows).fingerprint()


@pytest.mark.parametrize("way", COPIES)
def test_the_history_of_a_copy_cannot_be_written(way):
    history = COPIES[way](updated()).history
    for array in (history.times, history.returns, history.variances):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


def test_another_process_reads_the_same_model():
    model = provisional()
    code = (
        "import pickle, sys; model = pickle.load(sys.stdin.buffer); "
        "print(model.fingerprint(), model.provisional)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(model),
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.decode().split() == [model.fingerprint(), "True"]
