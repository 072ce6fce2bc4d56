"""Quotes: reading them, and every way in which they can be unfit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

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
            r"row 2, column 'volatility': 0.0; a number from 1e-06 to 100 is needed",
        ),
        (1, "volatility", "", r"row 3, column 'volatility': ''; a number from 1e-06 to 100"),
        (1, "volatility", np.nan, r"row 3, column 'volatility'"),
        (1, "volatility", None, r"row 3, column 'volatility'"),
        (1, "volatility", "20%", r"row 3, column 'volatility': '20%' is not a number"),
        (
            2,
            "strike",
            -1.0,
            r"row 4, column 'strike': -1.0; a number from 1e-15 to 1e.15 is needed",
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
        with pytest.raises(DataError, match="forward must be a number"):
            by_expiry(bare, forward=forward)


def test_an_error_in_a_file_names_it(tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_text("expiry,log_moneyness,volatility\n2021-03-26,-0.1,0.2\n2021-03-26,0.1,-2\n")
    with pytest.raises(DataError, match=r"quotes\.csv: row 3, column 'volatility': '-2'"):
        read_quotes(path)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("strike", 5e-324, r"row 2, column 'strike': 5e-324; a number from 1e-15 to 1e\+15"),
        ("strike", 1e308, r"row 2, column 'strike': 1e\+308; a number from 1e-15"),
        ("strike", 1e-9, r"row 2: the strike 1e-09 is too far from the forward 32000; ln"),
        ("volatility", 1e308, r"row 2, column 'volatility': 1e\+308; a number from 1e-06 to 100"),
        ("volatility", 5e-324, r"row 2, column 'volatility': 5e-324; a number from"),
        ("volatility", 66.0, r"row 2, column 'volatility': 66 is 6,600 % a year; is it in percent"),
        ("forward", 1e308, r"row 2, column 'forward': 1e\+308; a number from"),
        ("expiry", "2121-01-06", r"row 2: expiry 2121-01-06 is .* more than a hundred years after"),
        ("expiry", "2021-01-04T00:00:00.5", r"row 2: expiry .* is less than a second"),
        ("bid", 0.91, r"row 2: the volatility 0.9 is below the bid 0.91; it must lie between"),
        ("ask", 0.89, r"row 2: the volatility 0.9 is above the ask 0.89"),
        ("ask", -1.0, r"row 2, column 'ask': -1.0; a number from"),
    ],
)
def test_what_is_out_of_its_range_is_refused(column, cell, message):
    frame = frame_of().astype(object)
    frame["bid"] = frame["ask"] = None
    frame.loc[0, column] = cell
    with pytest.raises(DataError, match=f"^q: {message}"):
        by_expiry(frame)


def test_bids_and_asks_may_be_missing():
    frame = frame_of().assign(bid=[0.89, None, None], ask=["", "0.86", " "])
    soon, later = by_expiry(frame)
    np.testing.assert_array_equal(later.bids, [0.89, np.nan])
    np.testing.assert_array_equal(later.asks, [np.nan, 0.86])
    assert np.isnan(soon.bids).all() and np.isnan(by_expiry(frame_of())[0].asks).all()


def test_a_high_volatility_is_taken_where_its_limit_is_widened():
    frame = frame_of().assign(volatility=6.0)
    with pytest.raises(DataError, match=r"volatility = 6.3"):
        mm.VolatilitySurface.from_quotes(frame, as_of=AS_OF)
    wide = mm.Plausibility(volatility=6.3)
    surface = mm.VolatilitySurface.from_quotes(frame, as_of=AS_OF, plausibility=wide)
    assert surface.volatility(0.1, 0.0) == pytest.approx(6.0)


SIZES = st.one_of(
    st.floats(1e-15, 1e15),
    st.floats(),
    st.sampled_from([5e-324, 1e-15, 1e-6, 1e-4, 0.9, 1.0, 1.1, 5.0, 100.0, 1e15, 1e308]),
)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["2021-01-04T00:00:01", "2021-01-05", "2031-01-04", "2120-12-01"]),
            st.one_of(st.floats(0.2, 5.0), SIZES),
            st.one_of(st.floats(0.05, 2.0), SIZES),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.sampled_from([0.01, 1.0, 3e4]),
)
def test_any_numbers_are_refused_clearly_or_make_finite_volatilities(rows, repair, forward):
    frame = pd.DataFrame(rows, columns=["expiry", "strike", "volatility"])
    frame["strike"] *= forward
    wide = mm.Plausibility(volatility=100)
    try:
        surface = mm.VolatilitySurface.from_quotes(
            frame, as_of=AS_OF, forward=forward, repair=repair, plausibility=wide, source="q"
        )
    except DataError as error:
        assert str(error).startswith("q: ")
        return
    k = np.concatenate([np.linspace(-20, 20, 41), [-np.inf, np.inf]])
    for time in (0.0, 1e-6, 0.003, 1.0, 50.0, 200.0):
        volatilities = surface.volatility(time, k)
        assert np.isfinite(volatilities).all() and (volatilities > 0).all()
    table = surface.slice(1.0)
    assert np.isfinite(table.volatilities).all() and np.isfinite(table.error)
