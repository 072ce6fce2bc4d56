"""Reading and joining prices: what is refused, with file, row and column, and what is lost."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.prices import joint_returns

BAD = {
    "missing date": ("date,a\n2021-01-01,1\n,2\n", "row 3, first column: no date"),
    "repeated date": ("date,a\n2021-01-01,1\n2021-01-01,2\n", "row 3.*repeats.*row 2"),
    "unsorted dates": ("date,a\n2021-01-02,1\n2021-01-01,2\n", "row 3.*earlier.*row 2"),
    "not a date": ("date,a\n2021-01-01,1\nsoon,2\n", "row 3.*'soon' is not an ISO date"),
    "negative": ("date,a\n2021-01-01,1\n2021-01-02,-2\n", "row 3, column 'a'.*out of scope"),
    "zero": ("date,a\n2021-01-01,1\n2021-01-02,0\n", "row 3, column 'a'.*out of scope"),
    "infinite": ("date,a\n2021-01-01,inf\n2021-01-02,1\n", "row 2, column 'a'.*inf"),
    "text": ("date,a\n2021-01-01,1\n2021-01-02,x\n", "row 3, column 'a': 'x' is not a number"),
    "empty": ("", "empty"),
    "no header": ("2021-01-01,1\n2021-01-02,2\n", "header"),
    "date for a header": ("2021-01-01,a\n2021-01-02,2\n2021-01-03,3\n", "row 1 holds the date"),
    "underscore": ("date,a\n2021-01-01,1\n2021-01-02,1_0\n", "'1_0' is not a number"),
    "ragged": ("date,a\n2021-01-01,1\n2021-01-02\n", "row 3 has 1 cells and the header has 2"),
    "binary": ("date,a\n\0\1\n", "binary"),
    "still": ("date,a\n2021-01-01,1\n2021-01-02,1\n2021-01-03,1\n", "'a' never moves"),
    "repeated asset": ("date,a,a\n2021-01-01,1,2\n2021-01-02,2,3\n", "'a' stands in more than"),
    "one row": ("date,a\n2021-01-01,1\n", "1 rows"),
    "one column": ("date\n2021-01-01\n", "one column"),
    "no price": ("date,a,b\n2021-01-01,1,\n2021-01-02,2,\n", "'b' has no price"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_files(tmp_path, case):
    content, match = BAD[case]
    path = tmp_path / "prices.csv"
    path.write_text(content)
    with pytest.raises(mm.DataError, match=f"(?s)prices.csv.*{match}"):
        mm.read_prices(path)


def test_files_that_are_not_there_or_not_parquet(tmp_path):
    with pytest.raises(mm.DataError, match="cannot be read"):
        mm.read_prices(tmp_path / "none.csv")
    (tmp_path / "p.parquet").write_text("date,a\n")
    with pytest.raises(mm.DataError, match="not a readable Parquet"):
        mm.read_prices(tmp_path / "p.parquet")


def test_csv_and_parquet_read_alike(tmp_path):
    index = pd.date_range("2021-01-01", periods=3, name="date")
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [2.0, 2.5, 2.25]}, index=index)
    frame.to_csv(tmp_path / "p.csv")
    frame.to_parquet(tmp_path / "p.parquet")
    for name in ("p.csv", "p.parquet"):
        history = mm.read_prices(tmp_path / name)
        pd.testing.assert_frame_equal(
            history.to_frame(), frame, check_freq=False, check_index_type=False
        )


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
