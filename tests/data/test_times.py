"""Times: every type that is one reads alike in every reader, and what is none is refused by all."""

import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.times import FIRST, LAST, date_text, utc_time, utc_times
from mcmargin.policies.policy_parts import Procyclicality
from mcmargin.policies.stress_parts import StressWindow

NEW_YORK = ZoneInfo("America/New_York")
MOMENT = np.datetime64("2021-03-26T08:00", "ns")
SAME = {
    "text": "2021-03-26T08:00",
    "text with a space": " 2021-03-26 08:00:00 ",
    "text in UTC": "2021-03-26T08:00:00Z",
    "text in a zone": "2021-03-26T10:00:00+02:00",
    "basic text": "20210326T0800",
    "datetime": datetime.datetime(2021, 3, 26, 8),
    "datetime in a zone": datetime.datetime(2021, 3, 26, 4, tzinfo=NEW_YORK),
    "Timestamp": pd.Timestamp("2021-03-26T08:00"),
    "Timestamp in a zone": pd.Timestamp("2021-03-26T04:00", tz="America/New_York"),
    "Timestamp in seconds": pd.Timestamp("2021-03-26T08:00").as_unit("s"),
    "datetime64 in hours": np.datetime64("2021-03-26T08"),
    "datetime64 in nanoseconds": MOMENT,
}
NONE = {
    "today": "today",
    "now": "now",
    "a month": "2024-06",
    "a year": "2024",
    "a price": "1800.5",
    "milliseconds as text": "1712102400000",
    "seconds as text": "1712102400",
    "a day of no month": "2021-02-30",
    "an hour of no day": "2021-03-26T25:00",
    "an American date": "03/26/2021",
    "slashes": "2021/03/26",
    "single digits": "2021-3-6",
    "a week": "2021-W12-5",
    "a day of the year": "2021-085",
    "Arabic digits": "٢٠٢١-٠٣-٢٦",
    "out of reach": "2262-01-01",
    "nobody's year": "0001-01-01T00:00+14:00",
    "a number": 20210326,
    "a float": 1800.5,
    "true": True,
    "complex": 1j,
    "a span": datetime.timedelta(1),
    "a numpy span": np.timedelta64(1, "D"),
    "an hour": datetime.time(8),
    "a period": pd.Period("2024-06", "M"),
    "a month of numpy": np.datetime64("2024-06"),
    "bytes": b"2021-03-26",
}
EMPTY = {
    "NaT": pd.NaT,
    "numpy's NaT": np.datetime64("NaT"),
    "NaN": float("nan"),
    "NA": pd.NA,
    "None": None,
}


def quotes(expiry):
    columns = {"strike": [1.0], "volatility": [0.5], "forward": [1.0]}
    return pd.DataFrame({"expiry": pd.Series([expiry], dtype=object)} | columns)


def as_of_a_surface(time):
    return mm.VolatilitySurface.from_quotes(quotes("2024-01-01"), as_of=time).as_of


def expiry_of_a_surface(time):
    return mm.VolatilitySurface.from_quotes(quotes(time), as_of="2020-01-01").expiries[0]


def prices(time):
    index = pd.Index(["2020-01-01", time], dtype=object)
    return mm.PriceHistory.from_frame(pd.DataFrame({"a": [1.0, 2.0]}, index=index)).times[1]


READERS = {
    "market": lambda time: mm.Market(as_of=time, spot={"a": 1.0}).as_of,
    "option": lambda time: mm.Option("o", "a", "call", 1.0, time).expiry,
    "future": lambda time: mm.Future("f", "a", time).expiry,
    "surface": as_of_a_surface,
    "quotes": expiry_of_a_surface,
    "prices": prices,
}


@pytest.mark.parametrize("time", SAME.values(), ids=SAME)
@pytest.mark.parametrize("reader", READERS)
def test_a_time_of_any_type_is_the_same_moment_in_every_reader(reader, time):
    assert READERS[reader](time) == MOMENT


@pytest.mark.parametrize("time", NONE.values(), ids=NONE)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_time_is_refused_by_every_reader(reader, time):
    with pytest.raises(mm.DataError, match="is not an ISO time between 1678 and 2261; write 2016"):
        READERS[reader](time)


@pytest.mark.parametrize("time", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("reader", READERS)
def test_an_empty_cell_is_told_as_one(reader, time):
    with pytest.raises(mm.DataError, match="no time is given; write 2016-12-19"):
        READERS[reader](time)


@pytest.mark.parametrize("word", ["today", "now", "1800.5", "2024-06", "1712102400000"])
def test_words_and_numbers_are_no_dates_in_files(tmp_path, word):
    """The same file must give the same model tomorrow."""
    (tmp_path / "prices.csv").write_text(f"date,btc\n2024-01-02,45000\n{word},45100\n")
    with pytest.raises(mm.DataError, match=rf"prices.csv: row 3, first column: '{word}' is not"):
        mm.read_prices(tmp_path / "prices.csv")
    (tmp_path / "quotes.csv").write_text(f"expiry,strike,volatility\n{word},100,0.5\n")
    with pytest.raises(mm.DataError, match=rf"quotes.csv: row 2, column 'expiry': '{word}' is not"):
        mm.read_quotes(tmp_path / "quotes.csv")
    rows = f"name,product,underlying,expiry\nf,future,btc,{word}\n"
    (tmp_path / "items.csv").write_text(rows)
    with pytest.raises(mm.DataError, match=rf"items.csv: row 2, column 'expiry'.*'{word}' is not"):
        mm.read_instruments(tmp_path / "items.csv")
    (tmp_path / "market.toml").write_text(f'as_of = "{word}"\nspot = {{ btc = 1.0 }}\n')
    with pytest.raises(mm.DataError, match=rf"as_of: '{word}' is not"):
        mm.read_market(tmp_path / "market.toml")
    with pytest.raises(mm.PolicyError, match=rf"first '{word}' is not"):
        StressWindow("w", word, "2024-07-01")


def test_numbers_in_the_index_are_no_dates():
    frame = pd.DataFrame({"date": [20240102, 20240103], "btc": [45000.0, 45100.0]})
    with pytest.raises(mm.DataError, match="20240102 is not an ISO time"):
        mm.PriceHistory.from_frame(frame)


@given(
    st.datetimes(datetime.datetime(1678, 1, 2), datetime.datetime(2261, 12, 30)),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Asia/Tel_Aviv"]),
)
def test_moments_are_those_of_the_standard_library(moment, zone):
    """Text and objects of any zone, beside Python's own conversion to UTC."""
    local = moment.replace(tzinfo=ZoneInfo(zone))
    expected = np.datetime64(local.astimezone(datetime.UTC).replace(tzinfo=None), "ns")
    given = [local, pd.Timestamp(local)]
    # Before 1900 offsets have seconds, which ISO 8601 has no way to write.
    if local.utcoffset().seconds % 60 == 0:
        given.append(local.isoformat())
    times, bad = utc_times(given)
    assert len(bad) == 0 and (times == expected).all()


@given(st.text(max_size=30))
def test_text_is_a_time_or_refused_and_never_another_error(text):
    times, bad = utc_times([text])
    assert len(bad) == int(np.isnat(times[0]))
    if not len(bad):
        assert FIRST <= times[0] < LAST and utc_time(text) == times[0]


def test_nanoseconds_are_kept():
    expected = np.datetime64("2021-03-26T08:00:00.123456789", "ns")
    for time in ("2021-03-26T08:00:00.123456789Z", pd.Timestamp(expected), expected):
        assert utc_time(time) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_typed_column_is_read_as_its_cells(unit, zone):
    column = pd.Series(pd.date_range("2021-03-13", periods=3, tz=zone)).dt.as_unit(unit)
    column = pd.concat([column, pd.Series([pd.NaT], dtype=column.dtype)], ignore_index=True)
    typed, typed_bad = utc_times(column)
    cells, cells_bad = utc_times(column.astype(object))
    np.testing.assert_array_equal(typed, cells)
    assert typed_bad.tolist() == cells_bad.tolist() == [3]
    assert typed.dtype == "datetime64[ns]"


def test_years_out_of_reach_in_a_typed_column_are_refused_and_not_wrapped_round():
    column = pd.Series(np.array(["2021-01-01", "2500-01-01", "1500-01-01"], "datetime64[s]"))
    times, bad = utc_times(column)
    assert bad.tolist() == [1, 2] and np.isnat(times[1:]).all()


def test_windows_take_dates_of_any_type():
    """And refuse a time of day, since a window is of whole dates."""
    for first in ("2008-09-01", datetime.date(2008, 9, 1), pd.Timestamp("2008-09-01")):
        window = StressWindow("w", first, np.datetime64("2008-12-31"))
        assert (window.first, window.last) == ("2008-09-01", "2008-12-31")
        part = Procyclicality(stressed_first=first, stressed_last="2008-12-31")
        assert part.stressed_first == "2008-09-01"
    with pytest.raises(mm.PolicyError, match="'w': first '2008-09-01T08:00' has a time of day"):
        StressWindow("w", "2008-09-01T08:00", "2008-12-31")


def test_a_policy_file_may_write_dates_as_toml_has_them(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        'version = 1\n[[stress.windows]]\nname = "w"\nfirst = 2008-09-01\nlast = "2008-12-31"\n'
    )
    window = mm.MarginPolicy.from_toml(path).stress.windows[0]
    assert (window.first, window.last) == ("2008-09-01", "2008-12-31")


def test_a_date_has_no_time_of_day():
    assert date_text(datetime.date(2020, 3, 12)) == "2020-03-12"
    with pytest.raises(ValueError, match="has a time of day, and a date is needed"):
        date_text("2020-03-12T00:30")
