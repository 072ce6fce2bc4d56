"""Reading and joining prices: what is refused, with file, row and column, and what is lost."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.returns import joint_returns
from tests.helpers.models import make_model

BAD = {
    "missing date": ("date,a\n2021-01-01,1\n,2\n", "row 3, first column: no time"),
    "repeated date": ("date,a\n2021-01-01,1\n2021-01-01,2\n", "row 3.*repeats the date of row 2"),
    "unsorted dates": (
        "date,a\n2021-01-02,1\n2021-01-01,2\n",
        "row 3.*earlier than the date of row 2",
    ),
    "not a date": ("date,a\n2021-01-01,1\nsoon,2\n", "row 3.*'soon' is not an ISO time"),
    "milliseconds": (
        "date,a\n1672531200000,1\n1672617600000,2\n",
        "row 2.*'1672531200000' is not an ISO time.*looks like milliseconds since 1970.*unit='ms'",
    ),
    "rows counted by pandas": (
        ",date,a\n0,2021-01-01,1\n1,2021-01-02,2\n",
        "the dates are in column 'date', and the first column has none.*index=False",
    ),
    "returns": (
        "date,a\n2021-01-01,0.01\n2021-01-02,-0.02\n",
        "row 3, column 'a': -0.02 is not a price.*if these are returns, give the prices",
    ),
    "negative": ("date,a\n2021-01-01,1\n2021-01-02,-2\n", "row 3, column 'a'.*cannot be modelled"),
    "zero": ("date,a\n2021-01-01,1\n2021-01-02,0\n", "row 3, column 'a'.*cannot be modelled"),
    "infinite": ("date,a\n2021-01-01,inf\n2021-01-02,1\n", "row 2, column 'a'.*inf"),
    "text": ("date,a\n2021-01-01,1\n2021-01-02,x\n", "row 3, column 'a': 'x' is not a number"),
    "empty": ("", "empty"),
    "no header": ("2021-01-01,1\n2021-01-02,2\n", "header"),
    "date for a header": ("2021-01-01,a\n2021-01-02,2\n2021-01-03,3\n", "row 1 begins with"),
    "underscore": ("date,a\n2021-01-01,1\n2021-01-02,1_0\n", "'1_0' is not a number"),
    "ragged": ("date,a\n2021-01-01,1\n2021-01-02\n", "row 3 has 1 cells and the header has 2"),
    "blank row": ("date,a\n2021-01-01,1\n,\n2021-01-02,2\n", "row 3 is blank; take it out"),
    "a currency's sign": ("date,a\n2021-01-01,$1\n", r"'\$1' is not a number; leave a missing"),
    "date of a country": ("date,a\n04/01/2021,1\n", "write 2016-12-19"),
    "binary": ("date,a\n\0\1\n", "binary"),
    "quote never closed": ('date,a\n2021-01-01,"1\n2021-01-02,2\n', "not a CSV file"),
    "repeated asset": ("date,a,a\n2021-01-01,1,2\n2021-01-02,2,3\n", "'a' stands in more than"),
    "no row": ("date,a\n", "no rows of prices"),
    "one column": ("date\n2021-01-01\n", "one column"),
    "no name": ("date,a,\n2021-01-01,1,2\n2021-01-02,2,3\n", "row 1 has an empty cell; a header"),
    "row number first": ("0,a\n1,1\n2,2\n", "row 1 begins with '0'.*header row"),
    "date of people": ("4-Jan-21,a\n5-Jan-21,1\n", "row 1 begins with '4-Jan-21'"),
    "month first": ("Jan 4 2021,a\nJan 5 2021,1\n", "row 1 begins with 'Jan 4 2021'"),
    "semicolons": ("date;a;b\n2021-01-01;1,5;2\n", "row 1 is separated by ';'.*commas"),
    "tabs": ("date\ta\n2021-01-01\t1.5\n", r"row 1 is separated by '\\t'"),
    "decimal commas": ("date,a\n2021-01-01,1,5\n", "row 2 has 3 cells.*decimals with a point"),
    "quoted decimal comma": (
        'date,a\n2021-01-01,"1,5"\n2021-01-02,2\n',
        "row 2, column 'a': '1,5' is not a number; write decimals with a point",
    ),
    "asset repeated but for spaces": ("date,a, a\n2021-01-01,1,2\n2021-01-02,2,3\n", "'a' stands"),
    "dates beyond nanoseconds": ("date,a\n2300-01-01,1\n2300-01-02,2\n", "row 2.*1678 and 2261"),
    "no price": ("date,a,b\n2021-01-01,1,\n2021-01-02,2,\n", "'b' has no price"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_files_are_refused(tmp_path, case):
    content, match = BAD[case]
    path = tmp_path / "prices.csv"
    path.write_text(content)
    with pytest.raises(mm.DataError, match=f"(?s)prices.csv.*{match}"):
        mm.read_prices(path)


@pytest.mark.parametrize("read", [mm.read_prices, mm.read_positions])
def test_files_are_named_as_they_were_given(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "folder.PARQUET").mkdir()
    (tmp_path / "in" / "text.parquet").write_text("date,a\n")
    (tmp_path / "in" / "text.csv").write_text("date,a\n1\n")
    for name, message in {
        "in/none.csv": "cannot be read (No such file or directory)",
        "in": "cannot be read (Is a directory)",
        "in/none.parquet": "not a readable Parquet file (No such file or directory)",
        "in/folder.PARQUET": "not a readable Parquet file (Is a directory)",
        "in/text.parquet": "not a readable Parquet file",
        "in/text.csv": "row 2 has 1 cells",
    }.items():
        with pytest.raises(mm.DataError, match=f"^{re.escape(f'{name}: {message}')}"):
            read(name)


def test_damaged_parquet_is_a_data_error(tmp_path):
    index = pd.date_range("2021-01-01", periods=50, name="date")
    frame = pd.DataFrame({"a": np.arange(1.0, 51.0)}, index=index)
    frame.to_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    path = tmp_path / "damaged.parquet"
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 3)] ^= np.uint8(rng.integers(1, 256))
        path.write_bytes(damaged.tobytes()[: rng.integers(1, 2 * len(damaged))])
        try:
            mm.read_prices(path)
        except mm.DataError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused > 200


def same_history(path, frame):
    pd.testing.assert_frame_equal(
        mm.read_prices(path).to_frame(), frame, check_freq=False, check_index_type=False
    )


def test_csv_and_parquet_read_alike(tmp_path):
    index = pd.date_range("2021-01-01", periods=3, name="date")
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [2.0, 2.5, 2.25]}, index=index)
    frame.to_csv(tmp_path / "p.csv")
    frame.to_parquet(tmp_path / "p.PARQUET")
    frame.reset_index().to_parquet(tmp_path / "numbered.parquet")
    frame.reset_index().iloc[::-1].sort_values("date").to_parquet(tmp_path / "shuffled.parquet")
    frame.convert_dtypes().to_parquet(tmp_path / "nullable.parquet")
    frame.astype(object).rename(columns={"a": " a "}).to_parquet(tmp_path / "objects.parquet")
    for path in tmp_path.iterdir():
        same_history(path, frame)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends_of_any_system(tmp_path, encoding, end):
    text = end.join(["date, a ,é", "2021-01-01, 1.5 ,2", "2021-01-02,2.5,3", "", ""])
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode(encoding))
    index = pd.DatetimeIndex(["2021-01-01", "2021-01-02"], name="date")
    same_history(path, pd.DataFrame({"a": [1.5, 2.5], "é": [2.0, 3.0]}, index=index))


def test_times_with_a_zone_become_utc(tmp_path):
    """New York's 16:00 is 21:00 UTC in winter and 20:00 in summer."""
    local = pd.DatetimeIndex(["2021-03-12 16:00", "2021-03-15 16:00"], name="date")
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=local.tz_localize("America/New_York"))
    frame.to_csv(tmp_path / "p.csv")
    frame.to_parquet(tmp_path / "p.parquet")
    frame.reset_index().to_parquet(tmp_path / "numbered.parquet")
    utc = pd.DatetimeIndex(["2021-03-12 21:00", "2021-03-15 20:00"], name="date")
    for path in tmp_path.iterdir():
        same_history(path, frame.set_axis(utc))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([True, False], "'True' is not a number"),
        (pd.date_range("2021-01-01", periods=2), "is not a number"),
        (pd.to_timedelta([1, 2], unit="D"), "is not a number"),
        ([1j, 2j], "is not a number"),
        ([[1.0], [2.0]], r"'\[1.0\]' is not a number"),
        (["1_0", "2"], "'1_0' is not a number"),
    ],
)
def test_columns_of_a_frame_that_are_no_prices(column, message):
    frame = pd.DataFrame({"a": column}, index=pd.date_range("2021-01-01", periods=2))
    with pytest.raises(mm.DataError, match=f"frame: row 2, column 'a': .*{message}"):
        mm.PriceHistory.from_frame(frame)


def test_where_a_frames_dates_stand():
    dates = ["2021-01-01", "2021-01-02"]
    text_index = pd.DataFrame({"a": [1.0, 2.0]}, index=dates)
    first_column = pd.DataFrame({"day": dates, "a": [1.0, 2.0]}, index=[7, 3])
    histories = [mm.PriceHistory.from_frame(frame) for frame in (text_index, first_column)]
    for history in histories:
        assert history.assets == ("a",)
        assert history.times.astype("datetime64[D]").astype(str).tolist() == dates
    for empty in (pd.DataFrame(), pd.DataFrame({"day": dates}), first_column.iloc[:0]):
        with pytest.raises(mm.DataError, match="no prices"):
            mm.PriceHistory.from_frame(empty)


def test_a_return_over_a_gap_belongs_to_the_bar_that_ends_it():
    """b does not trade on the 2nd; a's two moves become one, 110/100 then 121/110: +21 %."""
    index = pd.date_range("2021-01-01", periods=4)
    frame = pd.DataFrame({"a": [100, 110, 121, 121.0], "b": [10, None, 11, 22.0]}, index=index)
    joint = joint_returns(mm.PriceHistory.from_frame(frame))
    np.testing.assert_allclose(joint.returns, [[0.21, 0.1], [0.0, 1.0]], atol=1e-15)
    assert (joint.report.lost, joint.report.missing) == (1, {"a": 0, "b": 1})
    assert "1 of 4 dates lost" in joint.report.summary()


def test_a_history_too_short_names_its_length_and_the_minimum():
    index = pd.date_range("2021-01-01", periods=60)
    frame = pd.DataFrame({"a": np.arange(1.0, 61.0)}, index=index)
    with pytest.raises(mm.CalibrationError, match=r"a: 59 returns.*at least 100"):
        mm.calibrate(mm.PriceHistory.from_frame(frame))


@pytest.mark.parametrize(
    "choice",
    [
        {"volatility": "arma"},
        {"innovations": "cauchy"},
        {"dependence": "vine"},
        {"innovations": "t", "dependence": "historical"},
    ],
)
def test_combinations_that_are_not_legal(choice):
    index = pd.date_range("2021-01-01", periods=3)
    history = mm.PriceHistory.from_frame(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=index))
    with pytest.raises(mm.CalibrationError):
        mm.calibrate(history, **choice)


def test_jobs_are_one_or_more():
    index = pd.date_range("2021-01-01", periods=3)
    history = mm.PriceHistory.from_frame(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=index))
    with pytest.raises(mm.PolicyError, match="jobs"):
        mm.calibrate(history, jobs=0)


def test_one_row_is_a_nights_work(tmp_path):
    """What a daily job has: yesterday's close, in a file of its own."""
    path = tmp_path / "newer.csv"
    path.write_text("date,a0\n2020-01-02,110\n")
    for provisional in (True, False):
        updated = make_model().update(mm.read_prices(path), provisional=provisional)
        assert updated.state.prices.tolist() == [110.0]
        # omega + alpha r**2 + beta h, of a0 as tests/helpers/models.py has it.
        assert updated.state.variance[0] == pytest.approx(2e-6 + 0.08 * 0.1**2 + 0.9 * 1e-4)
    with pytest.raises(mm.DataError, match="too few dates in common"):
        mm.calibrate(mm.read_prices(path))


def test_text_in_another_encoding(tmp_path):
    path = tmp_path / "prices.csv"
    for encoding, message in (
        ("utf-16", "UTF-16 text; save it as CSV in UTF-8"),
        ("latin-1", "UTF-8"),
    ):
        path.write_bytes("date,\u00e9\n2021-01-01,1\n".encode(encoding))
        with pytest.raises(mm.DataError, match=message):
            mm.read_prices(path)


def test_a_history_made_by_hand_is_checked_too():
    """A masked array gave a variance of what lies under its mask, without a word."""
    times = np.arange("2021-01-01", "2021-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    prices = np.array([[1.0], [2.0], [3.0]])
    good = mm.PriceHistory(("a",), times, prices, "hand")
    masked = np.ma.masked_array(prices, [[False], [True], [False]])
    for change, message in (
        ({"prices": masked}, "hand: prices are a masked array"),
        ({"prices": prices.astype(complex)}, "hand: prices must be real numbers"),
        ({"prices": -prices}, "hand: row 1, column 'a': -1.0 is not a price"),
        ({"prices": prices[:, 0]}, r"have the shape \(3,\); 3 times and 1 assets need \(3, 1\)"),
        ({"times": times[::-1]}, "times must increase"),
        ({"times": np.arange(3)}, "times must be an array of datetime64"),
        ({"assets": ("",)}, "a column has no name"),
        ({"assets": ("a", "a"), "prices": np.ones((3, 2))}, "'a' stands in more than one column"),
    ):
        with pytest.raises(mm.DataError, match=message):
            dataclasses.replace(good, **change)
    assert np.isnan(dataclasses.replace(good, prices=prices * np.nan).prices).all()
