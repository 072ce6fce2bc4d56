"""Quotes: reading them, and every way in which they can be unfit."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.bars import years_between
from mcmargin.errors import DataError
from mcmargin.markets.quotes import quotes_by_expiry, read_quotes

AS_OF = np.datetime64("2021-01-04")
GOOD = [
    ("2021-03-26T08:00:00Z", 30000.0, 0.9, 32000.0),
    ("2021-03-26T09:00+01:00", 34000.0, 0.85, 32000.0),
    ("2021-01-29", 32000.0, 0.8, 31900.0),
]
COLUMNS = ["expiry", "strike", "volatility", "forward"]


def frame_of(rows=GOOD, columns=COLUMNS):
    return pd.DataFrame(rows, columns=columns)


def by_expiry(frame, forward=None):
    return quotes_by_expiry(
        frame, as_of=AS_OF, forward=forward, limits=mm.Plausibility(), source="q"
    )


def test_expiries_in_order_with_their_times():
    soon, later = by_expiry(frame_of())
    assert str(soon.expiry) == "2021-01-29T00:00:00.000000000"
    assert soon.time == 25 / 365
    assert later.time == pytest.approx((81 + 1 / 3) / 365, rel=1e-15)
    np.testing.assert_allclose(later.log_moneyness, np.log([30 / 32, 34 / 32]), rtol=1e-14)
    np.testing.assert_array_equal(later.variances, np.array([0.9, 0.85]) ** 2 * later.time)
    assert (soon.forward, later.forward) == (31900.0, 32000.0)


def test_years_are_of_365_days():
    ends = np.array(["2021-01-05", "2022-01-04T12:00"], "datetime64[s]")
    assert years_between(AS_OF, ends).tolist() == [1 / 365, 365.5 / 365]


def test_files_as_frames(tmp_path):
    frame_of().to_csv(tmp_path / "q.csv", index=False)
    pd.DataFrame(GOOD, columns=COLUMNS).to_parquet(tmp_path / "q.parquet")
    read = read_quotes(tmp_path / "q.csv")
    assert read.dtypes.astype(str).tolist() == ["datetime64[ns]", "float64", "float64", "float64"]
    pd.testing.assert_frame_equal(read, read_quotes(tmp_path / "q.parquet"))
    read.to_parquet(tmp_path / "typed.parquet")
    pd.testing.assert_frame_equal(read, read_quotes(tmp_path / "typed.parquet"))
    assert [q.time for q in by_expiry(read)] == [q.time for q in by_expiry(frame_of())]


@pytest.mark.parametrize(
    ("row", "column", "cell", "message"),
    [
        (
            0,
            "volatility",
            0.0,
            r"row 2, column 'volatility': 0.0; a number from 0.0001 to 100 is needed",
        ),
        (1, "volatility", "", r"row 3, column 'volatility': ''; a number from 0.0001 to 100"),
        (1, "volatility", np.nan, r"row 3, column 'volatility'"),
        (1, "volatility", None, r"row 3, column 'volatility'"),
        (1, "volatility", "20%", r"row 3, column 'volatility': '20%' is not a number"),
        (
            2,
            "strike",
            -1.0,
            r"row 4, column 'strike': -1.0; a number from 1e-12 to 1e.15 is needed",
        ),
        (2, "strike", np.inf, r"row 4, column 'strike'"),
        (0, "forward", 0.0, r"row 2, column 'forward'"),
        (1, "forward", 31000.0, r"row 3, column 'forward': 31000 .* 32000 in row 2"),
        (1, "expiry", "soon", r"row 3, column 'expiry': 'soon' is not an ISO time"),
        (1, "expiry", None, r"row 3, column 'expiry': no time is given"),
        (1, "expiry", "2500-01-01", r"row 3, column 'expiry': '2500-01-01' is not an ISO time"),
        (1, "expiry", "2021-01-04", r"row 3: expiry 2021-01-04 is not after 2021-01-04"),
        (1, "expiry", "2020-12-25", r"row 3: expiry 2020-12-25 is not after 2021-01-04"),
        (1, "strike", 30000.0, r"row 3 repeats strike 30000 of expiry 2021-03-26T08:00:00, which"),
    ],
)
def test_a_cell_that_is_unfit(row, column, cell, message):
    frame = frame_of().astype(object)
    frame.loc[row, column] = cell
    with pytest.raises(DataError, match=f"^q: {message}"):
        by_expiry(frame)


def test_columns_that_are_unfit():
    for columns in (
        ["expiry", "strike", "iv", "forward"],
        ["expiry", "strike", "volatility", "strike"],
        ["expiry", "strike", "volatility", "log_moneyness"],
        ["date", "strike", "volatility", "forward"],
    ):
        with pytest.raises(DataError, match=r"q: columns .* are needed"):
            by_expiry(frame_of(columns=columns))
    with pytest.raises(DataError, match="q: no quotes"):
        by_expiry(frame_of([]))


def test_forwards_that_are_unfit():
    bare = frame_of().drop(columns="forward")
    with pytest.raises(DataError, match="strikes need a forward"):
        by_expiry(bare)
    with pytest.raises(DataError, match="column 'forward' and the argument forward"):
        by_expiry(frame_of(), forward=1.0)
    for forward in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="forward must be a number from 1e-12 to 1e"):
            by_expiry(bare, forward=forward)


def test_an_error_in_a_file_names_it(tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_text("expiry,log_moneyness,volatility\n2021-03-26,-0.1,0.2\n2021-03-26,0.1,-2\n")
    with pytest.raises(DataError, match=r"quotes\.csv: row 3, column 'volatility': '-2'"):
        read_quotes(path)
