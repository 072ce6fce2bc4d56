"""Arguments of every wrong type: what a public function does not take, it refuses in its own words.

And files that are no files, or whose small size hides much work.
"""

import datetime as dt
import decimal
import os
import time

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

import mcmargin as mm
from tests.helpers.models import QUICK, make_model

ODD = [
    *[None, True, 0, -1, 5, 1e308, float("nan"), "text", "", b"text", [], [1], {}, {"a": 1}],
    *[
        (1, 2),
        {1},
        1j,
        object(),
        int,
        dt.date(2021, 1, 1),
        dt.timedelta(1),
        decimal.Decimal("sNaN"),
    ],
    *[pd.NA, pd.NaT, pd.Series([1.0]), pd.DataFrame({"a": [1.0]}), 10**400, "a\0b"],
    decimal.Decimal("sNaN"),
    *[np.float32(0.5), np.int8(3), np.bool_(True), np.array(1.5), np.array([1.0, 2.0])],
    *[np.timedelta64(1, "D"), np.ma.masked, np.ma.masked_array([1.0, 2.0], [0, 1])],
]
QUOTES = pd.DataFrame({"expiry": ["2020-03-27"], "strike": [100.0], "volatility": [0.5]})
POSITIONS = pd.DataFrame({"account": ["x"], "instrument": ["A"], "quantity": [1.0]})
MODEL = make_model(("garch",))
CLOSES = pd.DataFrame(
    {"a": 100.0 + np.sin(np.arange(300.0))}, pd.date_range("2020-01-01", periods=300)
)
PLAN = {"seed": 1, "paths": 100, "horizons": (1,), "precision": "single"}
CALLS = {
    "plan": (mm.SimulationPlan, PLAN, ["horizons", "precision", "seed", "paths"]),
    "simulate": (
        lambda **given: mm.simulate(MODEL, **given),
        {"horizons": (1,), "paths": 100, "seed": 1},
        ["horizons", "engine", "precision", "threads"],
    ),
    "calibrate": (
        lambda **given: mm.calibrate(mm.PriceHistory.from_frame(CLOSES), **given),
        QUICK,
        ["volatility", "innovations", "dependence", "own_history", "plausibility", "warm_start"],
    ),
    "estimate_tail": (
        mm.estimate_tail,
        {"losses": np.arange(100.0), "level": 0.9},
        ["losses", "level", "confidence"],
    ),
    "surface": (
        mm.VolatilitySurface.from_quotes,
        {"frame": QUOTES, "as_of": "2020-01-01", "forward": 100.0},
        ["frame", "as_of", "repair", "plausibility"],
    ),
    "book": (mm.Book.from_frame, {"frame": POSITIONS}, ["frame", "instruments", "accounts"]),
    "prices": (mm.PriceHistory.from_frame, {"frame": CLOSES}, ["frame"]),
    "read_prices": (mm.read_prices, {}, ["path"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_of_any_type(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, given, names = CALLS[name]
    if given:
        function(**given)
    refused = 0
    for each in names:
        for value in ODD:
            if each == "path" and not isinstance(value, str):
                continue
            try:
                function(**given | {each: value})
            except mm.McMarginError as error:
                assert str(error)
                refused += 1
    assert refused >= (len(ODD) // 2 * len(names) if given else 3)


def test_a_memory_limit_of_any_whole_number_gives_the_same():
    scenarios = mm.simulate(MODEL, horizon=1, paths=500, seed=1)
    book = mm.Book.from_frame(POSITIONS.assign(instrument="a0"))
    found = {
        mm.margin(book, scenarios, memory_limit=limit).to_json()
        for limit in (10**6, np.int32(10**6), np.uint64(10**6))
    }
    assert len(found) == 1


def test_several_may_be_gone_through_but_once():
    items = [mm.Spot("A", "a0")]
    whole = mm.Book.from_frame(POSITIONS, instruments=items)
    assert mm.Book.from_frame(POSITIONS, instruments=iter(items)).instruments == whole.instruments


@pytest.mark.parametrize(
    "name", [pd.NA, b"a", True, dt.date(2021, 1, 1), pd.Timestamp("2021"), "x" * 2000]
)
def test_columns_whose_names_are_none(name):
    frame = CLOSES.set_axis(pd.Index([name], dtype=object), axis=1)
    with pytest.raises(mm.DataError, match=r"a column is called .*; name each by its asset"):
        mm.PriceHistory.from_frame(frame)


def test_prices_without_rows_and_prices_that_signal():
    empty = pd.DataFrame({"a": []}, pd.period_range("2020-01", periods=0, freq="M"))
    with pytest.raises(mm.DataError, match="no prices"):
        mm.PriceHistory.from_frame(empty)
    frame = pd.DataFrame({"a": [decimal.Decimal("sNaN")]}, pd.date_range("2020-01-01", periods=1))
    with pytest.raises(mm.DataError, match="row 2, column 'a': 'sNaN' is not a number"):
        mm.PriceHistory.from_frame(frame)


def test_a_small_parquet_of_millions_of_times_is_read_in_a_moment(tmp_path):
    """Each time is looked at once; one by one, 20 million took two minutes."""
    path, rows = tmp_path / "p.parquet", 1_000_000
    table = pyarrow.table({"date": ["2020-01-01"] * rows, "a": np.ones(rows)})
    parquet.write_table(table, path, compression="zstd")
    began = time.process_time()
    with pytest.raises(mm.DataError, match=r"row 3 \(2020-01-01\) repeats the date of row 2"):
        mm.read_prices(path)
    assert time.process_time() - began < 3.0


def test_many_times_are_those_that_are_read_one_by_one():
    from mcmargin.data.times import MANY, utc_time, utc_times

    cells = ["2020-01-01", "today", "2021-03-26T10:00+02:00", ""] * MANY
    times, bad = utc_times(cells)
    assert bad.tolist() == [at for at in range(len(cells)) if at % 2]
    assert set(times[::4]) == {utc_time(cells[0])} and set(times[2::4]) == {utc_time(cells[2])}


def test_nested_notes_of_pandas_in_a_parquet(tmp_path):
    table = pyarrow.table({"date": ["2020-01-01"], "a": [1.0]})
    notes = {b"pandas": b"[" * 100_000}
    parquet.write_table(table.replace_schema_metadata(notes), tmp_path / "p.parquet")
    with pytest.raises(mm.DataError, match="not a readable Parquet file"):
        mm.read_prices(tmp_path / "p.parquet")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")
def test_a_device_is_no_model_file():
    with pytest.raises(mm.ModelFileError, match="/dev/zero: not a regular file"):
        mm.load_model("/dev/zero")
