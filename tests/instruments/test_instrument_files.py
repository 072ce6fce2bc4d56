"""Instrument files: every form reads alike, and every fault is told with its place."""

import datetime
import re
from dataclasses import MISSING, fields

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.instruments.instrument_files import COLUMNS, INSTRUMENT_ROWS
from tests.helpers.files import write

FUTURE = mm.Future("BTC-JUN", "btc", "2021-06-25T08:00", carry=0.08, basis_volatility=0.02)
ITEMS = (
    mm.Option("BTC-C", "btc", "call", 40_000.0, "2021-06-25T08:00", "coin", future=FUTURE),
    mm.Spot("DAX", "dax", "EUR"),
    mm.Perpetual("BTC-PERP", "btc", inverse=True, contract_size=10.0, funding_rate=-1e-4),
    FUTURE,
)
TOML = """
[[instrument]]
name = "BTC-C"
product = "option"
underlying = "btc"
kind = "call"
strike = 40_000  # underscores are TOML's
expiry = 2021-06-25T10:00:00+02:00
settlement = "coin"
future = "BTC-JUN"  # which stands below

[[instrument]]
name = "DAX"
product = "spot"
underlying = "dax"
currency = "EUR"

[[instrument]]
name = "BTC-PERP"
product = "perpetual"
underlying = "btc"
inverse = true
contract_size = 10
funding_rate = -1e-4

[[instrument]]
name = "BTC-JUN"
product = "future"
underlying = "btc"
expiry = "2021-06-25T08:00"
carry = 0.08
basis_volatility = 0.02
"""
HEADER = (
    "name,product,underlying,currency,kind,strike,expiry,settlement,inverse,contract_size,future,"
    "carry,funding_rate,basis_volatility"
)
CSV = f"""{HEADER}
BTC-C,option,btc,,call,40000,2021-06-25T08:00,coin,,,BTC-JUN,,,
 DAX ,spot,dax,EUR,,,,,,,,,,
BTC-PERP,perpetual,btc,,,,,,TRUE,1e1,,,-0.0001,
BTC-JUN,future,btc,USD,,,2021-06-25 10:00:00+02:00,,,,,0.08,,0.02
"""


def test_toml_csv_and_parquet_read_alike(tmp_path):
    assert mm.read_instruments(write(tmp_path, TOML, "instruments.toml")) == ITEMS
    table = write(tmp_path, CSV, "instruments.csv")
    assert mm.read_instruments(table) == ITEMS
    # A typed table, with times, numbers and gaps as Parquet keeps them.
    frame = pd.read_csv(table, skipinitialspace=True)
    frame["expiry"] = pd.to_datetime(frame["expiry"], format="ISO8601", utc=True)
    frame["inverse"] = frame["inverse"].astype("boolean")
    frame.to_parquet(tmp_path / "instruments.PARQUET")
    assert mm.read_instruments(tmp_path / "instruments.PARQUET") == ITEMS
    # And one of text alone.
    pd.read_csv(table, dtype=str).to_parquet(tmp_path / "text.parquet")
    assert mm.read_instruments(tmp_path / "text.parquet") == ITEMS


def test_toml_of_a_byte_order_mark_and_returns(tmp_path):
    path = tmp_path / "windows.TOML"
    path.write_bytes(TOML.replace("\n", "\r\n").encode("utf-8-sig"))
    assert mm.read_instruments(path) == ITEMS


def test_whole_numbers_of_parquet_and_dates_are_names_and_midnights(tmp_path):
    frame = pd.DataFrame(
        {
            "name": [600519],
            "product": ["future"],
            "underlying": ["a"],
            "expiry": [datetime.date(2021, 6, 25)],
        }
    )
    frame.to_parquet(tmp_path / "i.parquet")
    (item,) = mm.read_instruments(tmp_path / "i.parquet")
    assert (item.name, item.expiry) == ("600519", np.datetime64("2021-06-25", "ns"))


@pytest.mark.parametrize("product", list(INSTRUMENT_ROWS))
def test_a_file_says_all_that_an_instrument_has_with_its_defaults(product):
    row, instrument = INSTRUMENT_ROWS[product]
    assert instrument.product == product
    assert set(row.model_fields) == {each.name for each in fields(instrument)} | {"product"}
    for each in fields(instrument):
        declared = row.model_fields[each.name]
        assert declared.is_required() == (each.default is MISSING), each.name
        if not declared.is_required():
            assert declared.default == each.default, each.name


def one(**changes):
    """An instrument as TOML, with some fields changed, or left out where None."""
    table = {"name": '"A"', "product": '"spot"', "underlying": '"a"'} | changes
    lines = [f"{name} = {value}" for name, value in table.items() if value is not None]
    return "\n".join(["[[instrument]]", *lines, ""])


def option(**changes):
    terms = {"product": '"option"', "kind": '"call"', "strike": "1.0", "expiry": '"2021-06-25"'}
    return one(**(terms | changes))


PERPETUAL, DATED = '"perpetual"', '"future"'
BAD_TOML = {
    "unknown field": (one(strik="1"), "instrument 1 ('A'), field 'strik': a spot has no 'strik'"),
    "field of another product": (option(inverse="true"), "field 'inverse': an option has no"),
    "misspelled": (option(strike=None, strik="1.0"), "field 'strik': an option has no 'strik'"),
    "unknown product": (one(product='"swap"'), "field 'product': 'swap' is unknown; give one of"),
    "no product": (one(product=None), "instrument 1 ('A'), field 'product': is missing; give it"),
    "product a number": (one(product="1"), "field 'product': '1' is unknown"),
    "no name": (one(name=None), "instrument 1, field 'name': is missing; give it"),
    "empty name": (one(name='" "'), "field 'name': is empty; give a name"),
    "name a number": (one(name="7"), "instrument 1, field 'name': 7 is not text"),
    "no strike": (option(strike=None), "field 'strike': is missing; give it"),
    "strike as text": (option(strike='"100"'), "field 'strike': '100' is not a number"),
    "strike a flag": (option(strike="true"), "field 'strike': True is not a number"),
    "negative strike": (option(strike="-1"), "field 'strike': must be above 0, not -1"),
    "strike not a number": (option(strike="nan"), "field 'strike': nan is not finite"),
    "infinite strike": (option(strike="inf"), "field 'strike': inf is not finite"),
    "strike beyond floats": (option(strike="1" + "0" * 400), "field 'strike': "),
    "digits without end": (option(strike="1" * 5000), "not TOML"),
    "unknown kind": (option(kind='"calls"'), "'calls' is unknown; give 'call' or 'put'"),
    "unknown settlement": (option(settlement='"cash"'), "give 'quote' or 'coin'"),
    "expiry no time": (option(expiry='"in June"'), "'in June' is not an ISO time between"),
    "expiry a number": (option(expiry="20210625"), "20210625 is not an ISO time"),
    "expiry an hour": (option(expiry="08:00:00"), "08:00:00 is not an ISO time"),
    "expiry out of reach": (option(expiry="9999-12-31"), "9999-12-31 is not an ISO time"),
    "expiry in no year": (option(expiry="0001-01-01T00:00:00+14:00"), "is not an ISO time"),
    "flag as text": (
        one(product=PERPETUAL, inverse='"yes"'),
        "field 'inverse': 'yes' is neither true nor false",
    ),
    "flag a number": (one(product=PERPETUAL, inverse="1"), "1 is neither true nor false"),
    "hours of 0": (one(product=PERPETUAL, funding_hours="0"), "must be above 0, not 0"),
    "negative basis": (
        one(product=PERPETUAL, basis_volatility="-0.1"),
        "field 'basis_volatility': must be 0 or more, not -0.1",
    ),
    "name twice": (one() + one(), "instrument 2 ('A'), field 'name': 'A' repeats instrument 1"),
    "future missing": (
        option(future='"JUN"'),
        "instrument 1 ('A'), field 'future': the file has no future 'JUN'; add it",
    ),
    "future a spot": (
        option(future='"B"') + one(name='"B"'),
        "field 'future': 'B' is no future; its product is 'spot'",
    ),
    "future of another underlying": (
        option(future='"B"')
        + one(name='"B"', product=DATED, underlying='"b"', expiry="2021-06-25"),
        "instrument 1 ('A'): instrument 'A': its future 'B' has the underlying 'b', not 'a'",
    ),
    "option outlives its future": (
        option(future='"B"') + one(name='"B"', product=DATED, expiry="2021-06-24"),
        "'A' expires at 2021-06-25T00:00:00, after its future 'B'",
    ),
    "not an array": ('[instrument]\nname = "A"\n', "head each instrument with [[instrument]]"),
    "a number": ("instrument = [1]\n", "head each instrument with [[instrument]]"),
    "another table": (one() + "[spot]\nbtc = 1\n", "'spot' is unknown; give [[instrument]] tables"),
    "none": ("", "no instruments; give at least one"),
    "not TOML": ("name,product\n", "not TOML (Expected '=' after a key"),
    "nested without end": ("a = " + "[" * 100_000, "not TOML (nested too deep)"),
}


@pytest.mark.parametrize("case", list(BAD_TOML))
def test_bad_toml_is_refused(case, tmp_path):
    text, message = BAD_TOML[case]
    path = write(tmp_path, text, "instruments.toml")
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(path))}: ") as error:
        mm.read_instruments(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def table(*rows, header="name,product,underlying,kind,strike,expiry,inverse"):
    return "\n".join([header, *rows, ""])


BAD_CSV = {
    "unknown column": (table("A,spot,a", header="name,product,under"), "row 1: column 'under' is"),
    "column twice": (table(header="name,name"), "row 1: column 'name' is given twice"),
    "no product": (table("A,,a,,,,"), "row 2, column 'product': is missing; give it"),
    "unknown product": (table("A,Spot,a,,,,"), "row 2, column 'product': 'Spot' is unknown"),
    "no name": (table("A,spot,a,,,,", ",spot,a,,,,"), "row 3, column 'name': is missing"),
    "of another product": (table("A,spot,a,,1,,"), "row 2, column 'strike': a spot has no"),
    "no number": (table("A,option,a,put,1OO,2021-06-25,"), "row 2, column 'strike': '1OO' is not"),
    "decimal comma": (
        table('A,option,a,put,"1,5",2021-06-25,'),
        "column 'strike': '1,5' is not a number; write decimals with a point",
    ),
    "underscore": (table("A,option,a,put,1_000,2021-06-25,"), "'1_000' is not a number"),
    "nan": (table("A,option,a,put,nan,2021-06-25,"), "column 'strike': nan is not finite"),
    "negative": (table("A,option,a,put,-2,2021-06-25,"), "column 'strike': must be above 0"),
    "a day first": (table("A,option,a,put,2,25/06/2021,"), "'25/06/2021' is not an ISO time"),
    "no flag": (table("A,perpetual,a,,,,x"), "row 2, column 'inverse': 'x' is neither true nor"),
    "name twice": (
        table("A,spot,a,,,,", "B,spot,a,,,,", "A,spot,b,,,,"),
        "row 4, column 'name': 'A' repeats row 2; give each name once",
    ),
    "future missing": (
        "name,product,underlying,kind,strike,expiry,future\nA,option,a,put,1,2021-06-25,JUN\n",
        "row 2, column 'future': the file has no future 'JUN'; add it",
    ),
    "header alone": (table(), "no instruments; give at least one"),
    "empty": ("", "the file is empty; a header and rows are needed"),
}


@pytest.mark.parametrize("case", list(BAD_CSV))
def test_bad_csv_is_refused(case, tmp_path):
    text, message = BAD_CSV[case]
    path = write(tmp_path, text, "instruments.csv")
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(path))}: ") as error:
        mm.read_instruments(path)
    assert message in str(error.value)


def test_bad_parquet_is_refused(tmp_path):
    path = tmp_path / "i.parquet"
    good = {"name": ["A", "B"], "product": ["spot", "option"], "underlying": ["a", "a"]}
    terms = {"kind": [None, "put"], "strike": [np.nan, 1.0], "expiry": [None, "2021-06-25"]}
    for changes, message in (
        ({"strike": [np.nan, -1.0]}, "row 3, column 'strike': must be above 0, not -1.0"),
        ({"strike": [[1.0], [2.0]]}, "column 'strike' has lists or tables in its cells"),
        ({"kind": [None, False]}, "row 3, column 'kind': False is unknown"),
        ({"expiry": [None, 20210625.0]}, "row 3, column 'expiry': 20210625.0 is not an ISO time"),
        ({"underlying": [0.5, 1.5]}, "row 2, column 'underlying': 0.5 is not text"),
        ({"product": [b"spot", b"option"]}, "row 2, column 'product': \"b'spot'\" is unknown"),
    ):
        pd.DataFrame(good | terms | changes).to_parquet(path)
        with pytest.raises(mm.DataError) as error:
            mm.read_instruments(path)
        assert f"{path}: {message}" in str(error.value)


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    for name in ("none.toml", "none.csv", "none.parquet"):
        with pytest.raises(mm.DataError, match="No such file or directory"):
            mm.read_instruments(tmp_path / name)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(mm.DataError, match="not UTF-8 text at byte 0"):
        mm.read_instruments(tmp_path / "binary.toml")


def test_columns_are_every_products_fields():
    assert COLUMNS[:3] == ("name", "product", "underlying")
    assert set(COLUMNS) == {
        name for row, _ in INSTRUMENT_ROWS.values() for name in row.model_fields
    }
