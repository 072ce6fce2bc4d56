"""Books for the benchmarks: options, perpetuals and futures on 50 underlyings, and balances.

The books are margined on numpy, and also on cupy if there is a GPU.
"""

import functools

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from benchmarks.size import size
from mcmargin.engines import cupy_devices
from tests.helpers.models import make_model

ENGINES = ("numpy", "cupy")

UNDERLYINGS = size(50, 4)
PATHS = size(10_000, 2048)
AS_OF = np.datetime64("2020-01-01", "ns")


def skip_without(engine):
    """Skip the benchmark if its engine cannot run, and say why."""
    reason = cupy_devices.missing() if engine == "cupy" else None
    if reason is not None:
        pytest.skip(f"mcmargin, cupy: {reason}")


def who(scenarios, what=""):
    """The name of a row of results; a row that names no engine is of numpy."""
    engine = "" if scenarios.engine == "numpy" else scenarios.engine
    return ", ".join(filter(None, ("mcmargin", engine, what)))


@functools.cache
def scenarios_of(engine):
    """50 GJR assets with t innovations and t dependence, 2 bars."""
    model = make_model(("gjr",) * UNDERLYINGS, "t", "t", variance=4e-4)
    return mm.simulate(model, horizon=2, paths=PATHS, seed=7, engine=engine)


def market_of(level=1.0):
    """A market in which every price is 100 times a level, with volatilities of 40 %."""
    names = [f"a{at}" for at in range(UNDERLYINGS)]
    return mm.Market(
        as_of=AS_OF,
        spot=dict.fromkeys(names, 100.0 * level),
        volatility=dict.fromkeys(names, 0.4),
    )


def instruments_of(count):
    """Instruments: one half are options, a quarter perpetuals and a quarter futures."""
    items = []
    for at in range(count):
        name = f"a{at % UNDERLYINGS}"
        if at < count // 2:
            expiry = AS_OF + np.timedelta64(7 + at * 13 % 360, "D")
            kind = "call" if at % 2 else "put"
            items.append(mm.Option(f"o{at}", name, kind, 70.0 + at * 7 % 60, expiry))
        elif at < count * 3 // 4:
            items.append(mm.Perpetual(f"p{at}", name))
        else:
            expiry = AS_OF + np.timedelta64(30 + at * 11 % 300, "D")
            items.append(mm.Future(f"f{at}", name, expiry, carry=0.03))
    return items


def positions_of(accounts, items):
    """Positions: each account has ten on average."""
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(accounts), rng.poisson(10, accounts).clip(1))
    names = np.array([item.name for item in items])
    frame = pd.DataFrame(
        {
            "account": np.char.mod("account %06d", owner),
            "instrument": names[rng.integers(0, len(items), len(owner))],
            "quantity": rng.normal(0, 10, len(owner)),
        }
    )
    return frame.drop_duplicates(["account", "instrument"])


def balances_of(positions, coins):
    """Balances: every account has dollars and 0 to 2 coins, each of another half of the assets."""
    names = positions["account"].unique()
    rng = np.random.default_rng(8)
    frames = [pd.DataFrame({"account": names, "asset": "USD", "amount": 1e4})]
    for first in range(0, coins * UNDERLYINGS // 2, UNDERLYINGS // 2):
        assets = [f"a{at}" for at in rng.integers(first, first + UNDERLYINGS // 2, len(names))]
        amounts = rng.uniform(0, 10, len(names))
        frames.append(pd.DataFrame({"account": names, "asset": assets, "amount": amounts}))
    return pd.concat(frames, ignore_index=True)
