"""Whatever stands in whatever field of a file, it is read or refused, and refused in one line."""

import datetime
import decimal
from typing import get_type_hints

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import mcmargin as mm
from mcmargin.books.account_files import AccountRow
from mcmargin.books.rows import PositionRow
from mcmargin.instruments.instrument_files import COLUMNS, INSTRUMENT_ROWS
from mcmargin.markets.market_files import MarketFile
from mcmargin.markets.order_book import OrderBookRow, read_order_book
from mcmargin.policies.formula import policy_in_words

TERMS = {
    "spot": {},
    "perpetual": {},
    "future": {"expiry": "2021-06-25"},
    "option": {"kind": "call", "strike": "1", "expiry": "2021-06-25"},
}
TOML = (
    *('"x"', '""', "1", "-1", "0", "1e-320", "1e308", "nan", "-inf", "true", "[]", "[[1]]", "{}"),
    *("{a = 1}", '{"{x}" = "{y}"}', "2021-06-25", "2021-06-25T08:00:00Z", "08:00:00", "0001-01-01"),
    *(
        "9999-12-31T23:59:59-14:00",
        "1" + "0" * 400,
        '"\\u0000"',
        '"2021-06-25"',
        '"{input}"',
        '"%s"',
    ),
    *('"call"', '"spot"', "{quotes = 1}", '{quotes = "\\u0000"}', f'{{quotes = "{"a/" * 3000}"}}'),
)
CELLS = (
    *(1, 1.5, None, True, "x", b"x", np.nan, [1], {"a": 1}, decimal.Decimal("1.5")),
    *(datetime.date(2021, 6, 25), datetime.datetime(9999, 1, 1), datetime.timedelta(1)),
)


def outcome(read, path):
    """1 where a file is read, 0 where it is refused."""
    try:
        read(path)
    except (mm.DataError, mm.PolicyError) as error:
        assert str(error).startswith(str(path.parent))
        assert "\n" not in str(error)
        return 0
    return 1


@pytest.mark.parametrize("product", list(INSTRUMENT_ROWS))
def test_instruments_of_toml(product, tmp_path):
    path, read = tmp_path / "i.toml", 0
    terms = {
        name: text if name == "strike" else f'"{text}"' for name, text in TERMS[product].items()
    }
    for field in (*COLUMNS, "odd", '"{x}"'):
        for value in TOML:
            table = {"name": '"A"', "product": f'"{product}"', "underlying": '"a"'} | terms
            lines = [f"{name} = {each}" for name, each in (table | {field: value}).items()]
            path.write_text("\n".join(["[[instrument]]", *lines]))
            read += outcome(mm.read_instruments, path)
    assert 0 < read < len(COLUMNS) * len(TOML)


def test_odd_values_in_markets_are_refused_or_read(tmp_path):
    path, read = tmp_path / "m.toml", 0
    forms = (
        *("{}", "{{btc = {}}}", "{{USDT = {{probability = {}, loss = 0}}}}", '{{"{{x}}" = {}}}'),
        *("{{btc = {{spread = {}}}}}", "{{btc = {{levels = {}}}}}"),
    )
    for field in (*MarketFile.model_fields, "odd"):
        for value in (form.format(value) for form in forms for value in TOML):
            table = {"as_of": "2021-01-01", "spot": "{btc = 1}"} | {field: value}
            path.write_text("\n".join(f"{name} = {each}" for name, each in table.items()))
            read += outcome(mm.read_market, path)
    assert read > 0


TABLES = {
    "maintenance": {},
    "stress": {},
    "procyclicality": {},
    "liquidity": {},
    "concentration": {"free_notional": "1", "rate": "0"},
    "leverage": {"tiers": "[{up_to = inf, max_leverage = 5}]"},
    "resources": {},
    "collateral": {},
}


def read_policy(path):
    policy = mm.MarginPolicy.from_toml(path)
    assert all(step.sentences for step in policy_in_words(policy))
    policy.to_toml(path.with_name("again.toml"))
    assert mm.MarginPolicy.from_toml(path.with_name("again.toml")) == policy


def test_odd_values_in_policies_are_refused_or_read(tmp_path):
    path, read = tmp_path / "p.toml", 0
    for field in (*mm.MarginPolicy.__dataclass_fields__, "version", "odd"):
        for value in (form.format(value) for form in ("{}", "{{spot = {}}}") for value in TOML):
            path.write_text(
                ("" if field == "version" else "version = 1\n") + f"{field} = {value}\n"
            )
            read += outcome(read_policy, path)
    assert read > 0


@pytest.mark.parametrize("part", list(TABLES))
def test_parts_of_policies(part, tmp_path):
    path, read = tmp_path / "p.toml", 0
    fields = get_type_hints(mm.MarginPolicy)[part].__args__[0].__dataclass_fields__
    forms = (
        *("{}", "{{btc = {}}}", "[{{up_to = {}, max_leverage = 2}}]"),
        *("[{{up_to = inf, max_leverage = {}}}]", "[{{underlying = {}, move = 0}}]"),
        *('[{{underlying = "a", move = {}}}]', '[{{name = "w", first = "2008-01-01", last = {}}}]'),
    )
    for field in (*fields, "odd", '"{x}"'):
        for value in (form.format(value) for form in forms for value in (*TOML, "0.9")):
            table = {name: text for name, text in TABLES[part].items() if name != field}
            lines = [f"{name} = {each}" for name, each in (table | {field: value}).items()]
            path.write_text("\n".join(["version = 1", f"[{part}]", *lines]))
            read += outcome(read_policy, path)
    assert read > 0


@pytest.mark.parametrize("kind", [*INSTRUMENT_ROWS, "account", "position", "level"])
def test_odd_values_in_parquet_are_refused_or_read(kind, tmp_path):
    path, read = tmp_path / "t.parquet", 0
    row = {"name": "A", "product": kind, "underlying": "a"} | TERMS.get(kind, {})
    reader, fields = mm.read_instruments, COLUMNS
    if kind == "account":
        reader, fields, row = mm.read_accounts, AccountRow.model_fields, {"account": "a"}
    if kind == "position":
        reader, fields = mm.read_positions, PositionRow.__dataclass_fields__
        row = {"account": "a", "instrument": "x", "quantity": 1.0}
    if kind == "level":
        reader, fields = read_order_book, OrderBookRow.model_fields
        row = {"side": "bid", "price": 1.0, "size": 1.0}
    for field in fields:
        for value in CELLS:
            table = pyarrow.table({name: [each] for name, each in (row | {field: value}).items()})
            pyarrow.parquet.write_table(table, path)
            read += outcome(reader, path)
    assert 0 < read < len(fields) * len(CELLS)
