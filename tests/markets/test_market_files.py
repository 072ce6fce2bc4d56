"""Market files: what they say becomes a Market, and every fault is told with its place."""

import os
import re
from dataclasses import MISSING, fields

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.markets.market_files import (
    DepegTable,
    LiquidityTable,
    MarketFile,
    files_beside,
    repair_notes,
)
from mcmargin.markets.market_parts import InstrumentLiquidity
from mcmargin.markets.order_book import read_order_book
from tests.helpers.files import write

TOML = """
as_of = 2021-01-04T10:00:00+02:00
currency = "EUR"
spot = { btc = 32_000, eth = 1000.5 }
fx = { USD = 0.8, USDT = 0.79 }

[rates]
EUR = -0.005

[carry]
btc = 0.08

[volatility]
btc = { quotes = "quotes/btc.csv" }
eth = 0.9

[vol_of_vol]
eth = 0

[volatility_asset]
btc = "dvol"

[fx_asset]
USD = "usdeur"

[fx_volatility]
USDT = 0.01

[depeg.USDT]
probability = 0.001
loss = 0.4

[liquidity.BTC-PERP]
daily_volume = 25_000
spread = 0.0002
levels = "levels.csv"

[liquidity.ETH]
spread = 0

[open_interest]
btc = 2e9
"""
QUOTES = """expiry,strike,volatility,forward
2021-01-29,30000,0.9,32200
2021-01-29,34000,0.85,32200
2021-03-26T08:00,28000,0.91,32600
2021-03-26T08:00,30000,0.88,32600
2021-03-26T08:00,32000,0.86,32600
2021-03-26T08:00,34000,0.84,32600
2021-03-26T08:00,38000,0.82,32600
"""
LEVELS = """side,price,size
ask,101,4
bid,99,5
bid,98,9
ask,102.5,1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "quotes").mkdir()
    (tmp_path / "levels.csv").write_text(LEVELS)
    (tmp_path / "quotes" / "btc.csv").write_text(QUOTES)
    return tmp_path


def test_a_file_says_all_that_a_market_has_with_its_defaults():
    assert set(MarketFile.model_fields) == {each.name for each in fields(mm.Market)}
    for each in fields(mm.Market):
        declared = MarketFile.model_fields[each.name]
        default = {} if each.default is MISSING else each.default
        assert declared.is_required() == (each.name in ("as_of", "spot"))
        assert declared.is_required() or declared.default == default
    assert set(DepegTable.model_fields) == {each.name for each in fields(mm.Depeg)}
    own = {each.name for each in fields(InstrumentLiquidity)} - {"bids", "asks"}
    assert set(LiquidityTable.model_fields) == own | {"levels"}


def test_a_market_as_it_is_built_by_hand(folder):
    as_of = np.datetime64("2021-01-04T08:00", "ns")
    surface = mm.VolatilitySurface.from_quotes(
        pd.read_csv(folder / "quotes" / "btc.csv"), as_of=as_of
    )
    expected = mm.Market(
        as_of=as_of,
        currency="EUR",
        spot={"btc": 32_000.0, "eth": 1000.5},
        fx={"USD": 0.8, "USDT": 0.79},
        rates={"EUR": -0.005},
        carry={"btc": 0.08},
        volatility={"btc": surface, "eth": 0.9},
        vol_of_vol={"eth": 0.0},
        volatility_asset={"btc": "dvol"},
        fx_asset={"USD": "usdeur"},
        fx_volatility={"USDT": 0.01},
        depeg={"USDT": mm.Depeg(0.001, 0.4)},
        liquidity={
            "BTC-PERP": InstrumentLiquidity(
                25_000.0, 0.0002, ((99.0, 5.0), (98.0, 9.0)), ((101.0, 4.0), (102.5, 1.0))
            ),
            "ETH": InstrumentLiquidity(spread=0.0),
        },
        open_interest={"btc": 2e9},
    )
    market = mm.read_market(write(folder, TOML, "market.toml"))
    assert market.fingerprint() == expected.fingerprint()
    beside = (folder / "quotes" / "btc.csv", folder / "levels.csv")
    assert files_beside(folder / "market.toml") == beside
    assert repair_notes(market) == ()


def test_quotes_at_strikes_take_the_markets_own_forwards(folder):
    """F = S exp(carry T), as of options on spot; ACT/365 to 08:00 of the second expiry."""
    frame = pd.read_csv(folder / "quotes" / "btc.csv").drop(columns="forward")
    frame.to_parquet(folder / "quotes" / "btc.parquet")
    market = mm.read_market(write(folder, TOML.replace("btc.csv", "btc.parquet"), "market.toml"))
    years = np.array([24 + 16 / 24, 81]) / 365
    np.testing.assert_allclose(
        market.volatility["btc"].forwards, 32_000 * np.exp(0.08 * years), rtol=1e-12
    )
    with pytest.raises(mm.DataError, match=r"quotes at strikes need a forward.*\[spot\]"):
        text = TOML.replace("btc.csv", "btc.parquet").replace("btc = 32_000, ", "")
        mm.read_market(write(folder, text, "market.toml"))


def test_arbitrage_is_refused_or_repaired_and_told(folder):
    (folder / "quotes" / "btc.csv").write_text(QUOTES.replace("34000,0.84", "34000,0.4"))
    with pytest.raises(
        mm.DataError, match=r"btc\.csv: expiry 2021-03-26.*strike 3.000: .*repair=True"
    ):
        mm.read_market(write(folder, TOML, "market.toml"))
    repairing = TOML.replace('btc.csv"', 'btc.csv", repair = true')
    market = mm.read_market(write(folder, repairing, "market.toml"))
    notes = repair_notes(market)
    start = "volatility of 'btc': quote of 2021-03-26T08:00:00, strike 34000, repaired from 0.4 to "
    (note,) = (note for note in notes if note.startswith(start))
    # Alone it would have to go to 0.83; two neighbours come down by less than that saves.
    assert 0.6 < float(note.removeprefix(start)) < 0.83
    assert len(notes) == 3 and all("quote of 2021-03-26T08:00:00" in each for each in notes)


SECRET = "expiry,log_moneyness,volatility\n2021-06-25,0,0.5\n"


def outside(folder):
    (folder.parent / "outside.csv").write_text(SECRET)
    return folder.parent / "outside.csv"


@pytest.mark.parametrize("way", ["absolute", "up", "down and up", "link", "linked folder"])
def test_quotes_lie_in_the_market_files_folder(folder, way):
    there = outside(folder)
    os.symlink(there, folder / "link.csv")
    os.symlink(folder.parent, folder / "above")
    ways = {
        "absolute": str(there),
        "up": "../outside.csv",
        "down and up": "quotes/../../outside.csv",
        "link": "link.csv",
        "linked folder": "above/outside.csv",
    }
    with pytest.raises(mm.DataError, match=r"\[volatility\] btc\.quotes: .* leads out of the"):
        mm.read_market(write(folder, TOML.replace("quotes/btc.csv", ways[way]), "market.toml"))
    with pytest.raises(mm.DataError, match=r"\[liquidity\] BTC-PERP\.levels: .* leads out of the"):
        mm.read_market(write(folder, TOML.replace('"levels.csv"', f'"{ways[way]}"'), "market.toml"))
    # Absolute paths are refused even of files in the folder: it could move.
    inside = str(folder / "quotes" / "btc.csv")
    with pytest.raises(mm.DataError, match="leads out of"):
        mm.read_market(write(folder, TOML.replace("quotes/btc.csv", inside), "market.toml"))


def test_links_inside_the_folder_are_followed(folder):
    """As of a mounted configuration, whose files are links into a folder beside them."""
    os.symlink("quotes/btc.csv", folder / "btc.csv")
    market = mm.read_market(write(folder, TOML.replace("quotes/btc.csv", "btc.csv"), "market.toml"))
    assert len(market.volatility["btc"].expiries) == 2


SHORT = 'as_of = "2021-01-04"\n'
SPOT = "[spot]\nbtc = 1\n"
BAD = {
    "no time": (SPOT, "as_of: is missing; give it"),
    "no prices": (SHORT, "spot: is missing; give it"),
    "time no time": ('as_of = "today"\n' + SPOT, "as_of: 'today' is not an ISO time"),
    "time a number": ("as_of = 20210104\n" + SPOT, "as_of: 20210104 is not an ISO time"),
    "unknown table": (SHORT + "[spots]\nbtc = 1\n", "spots: is unknown; known are as_of, currency"),
    "unknown entry of a jump": (
        SHORT + SPOT + "[depeg.USDT]\nprobability = 0.1\nloss = 0.1\nspeed = 1\n",
        "[depeg] USDT.speed: is unknown; known are probability, loss",
    ),
    "unknown entry of quotes": (
        SHORT + SPOT + '[volatility]\nbtc = {quotes = "q.csv", forward = 1}\n',
        "[volatility] btc.forward: is unknown; known are quotes, repair",
    ),
    "jump without loss": (
        SHORT + SPOT + "[depeg.USDT]\nprobability = 0.1\n",
        "[depeg] USDT.loss: is missing; give it",
    ),
    "loss beyond 1": (
        SHORT + SPOT + "[depeg.USDT]\nprobability = 0.1\nloss = 1.5\n",
        "[depeg] USDT.loss: must be 1 or less, not 1.5",
    ),
    "price as text": (SHORT + '[spot]\nbtc = "1"\n', "[spot] btc: '1' is not a number"),
    "price of 0": (SHORT + "[spot]\nbtc = 0\n", "[spot] btc: must be above 0, not 0"),
    "price not a number": (SHORT + "[spot]\nbtc = nan\n", "[spot] btc: nan is not finite"),
    "price without a name": (SHORT + '[spot]\n"" = 1\n', "[spot] : is empty; give a name"),
    "prices no table": (SHORT + "spot = 1\n", "spot: 1 is not a table; give names with"),
    "negative rate of fx": (SHORT + SPOT + "[fx]\nEUR = -1\n", "[fx] EUR: must be above 0"),
    "volatility of 0": (SHORT + SPOT + "[volatility]\nbtc = 0\n", "[volatility] btc: must be abo"),
    "volatility as text": (
        SHORT + SPOT + '[volatility]\nbtc = "high"\n',
        "[volatility] btc: 'high' is not a number",
    ),
    "volatility without quotes": (
        SHORT + SPOT + "[volatility]\nbtc = {repair = true}\n",
        "[volatility] btc.quotes: is missing",
    ),
    "an asset called table": (
        SHORT + SPOT + "[volatility]\ntable = {quotes = 1}\n",
        "[volatility] table.quotes: 1 is not text",
    ),
    "negative vol of vol": (
        SHORT + SPOT + "[vol_of_vol]\nbtc = -0.1\n",
        "[vol_of_vol] btc: must be 0 or more, not -0.1",
    ),
    "asset a number": (SHORT + SPOT + "[fx_asset]\nEUR = 1\n", "[fx_asset] EUR: 1 is not text"),
    "no quotes": (
        SHORT + SPOT + '[volatility]\nbtc = {quotes = "none.csv"}\n',
        "none.csv: cannot be read (No such file or directory)",
    ),
    "quotes a folder": (
        SHORT + SPOT + '[volatility]\nbtc = {quotes = "."}\n',
        "cannot be read (Is a directory)",
    ),
    "quotes no path": (
        SHORT + SPOT + '[volatility]\nbtc = {quotes = "a\\u0000b"}\n',
        "[volatility] btc.quotes: 'a\\x00b' is not a path (embedded null byte)",
    ),
    "quotes wrong": (
        SHORT + SPOT + '[volatility]\nbtc = {quotes = "quotes/btc.csv"}\n',
        "btc.csv: row 2, column 'volatility': '-0.9'; a number from 1e-06 to 100 is needed",
    ),
    "quotes expired": (
        'as_of = "2021-02-01"\n' + SPOT + '[volatility]\nbtc = {quotes = "quotes/good.csv"}\n',
        "good.csv: row 2: expiry 2021-01-29 is not after 2021-02-01",
    ),
    "liquidity no table": (
        SHORT + SPOT + "[liquidity]\nA = 1\n",
        "[liquidity] A: 1 is not a table",
    ),
    "unknown entry of liquidity": (
        SHORT + SPOT + "[liquidity.A]\nvolume = 1\n",
        "[liquidity] A.volume: is unknown; known are daily_volume, spread, levels",
    ),
    "no volume": (
        SHORT + SPOT + "[liquidity.A]\ndaily_volume = 0\n",
        "[liquidity] A.daily_volume: must be above 0, not 0",
    ),
    "negative spread": (
        SHORT + SPOT + "[liquidity.A]\nspread = -0.1\n",
        "[liquidity] A.spread: must be 0 or more, not -0.1",
    ),
    "no levels": (SHORT + SPOT + '[liquidity.A]\nlevels = "none.csv"\n', "none.csv: cannot be rea"),
    "levels wrong": (
        SHORT + SPOT + '[liquidity.A]\nlevels = "quotes/good.csv"\n',
        "good.csv: columns expiry, strike, volatility, forward; exactly side, price, size are need",
    ),
    "negative open interest": (
        SHORT + SPOT + "[open_interest]\nbtc = -1\n",
        "[open_interest] btc: must be 0 or more, not -1",
    ),
    "given twice": (SHORT + SPOT + SPOT, "not TOML (Cannot declare ('spot',) twice"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_markets_are_refused(folder, case):
    (folder / "quotes" / "btc.csv").write_text(QUOTES.replace("30000,0.9", "30000,-0.9"))
    (folder / "quotes" / "good.csv").write_text(QUOTES)
    text, message = BAD[case]
    path = write(folder, text, "market.toml")
    with pytest.raises(mm.DataError, match=f"^{re.escape(str(folder))}") as error:
        mm.read_market(path)
    assert message in str(error.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(mm.DataError, match=r"none\.toml: cannot be read \(No such file"):
        mm.read_market(tmp_path / "none.toml")


BAD_LEVELS = {
    "negative price": ("ask,101,4", "ask,-101,4", "row 2, column 'price': must be above 0, not"),
    "no size": ("bid,98,9", "bid,98,0", "row 4, column 'size': must be above 0, not"),
    "empty size": ("bid,98,9", "bid,98,", "row 4, column 'size': is missing; give it"),
    "text": ("bid,98,9", "bid,98,many", "row 4, column 'size': 'many' is not a number"),
    "side": ("bid,98,9", "buy,98,9", "row 4, column 'side': 'buy' is unknown; give 'bid' or 'ask'"),
    "bids out of order": ("bid,98,9", "bid,99.5,9", "row 4, column 'price': bid 99.5 is not below"),
    "a price twice": ("bid,98,9", "bid,99,9", "row 4, column 'price': bid 99 is not below the 99"),
    "asks out of order": (
        "ask,102.5,1",
        "ask,100,1",
        "row 5, column 'price': ask 100 is not above",
    ),
    "crossed": ("bid,99,5", "bid,101,5", "row 3: the order book is crossed: bid 101 of row 3, ask"),
    "column": ("side,price,size", "side,price,units", "columns side, price, units; exactly side"),
    "empty": (LEVELS, "side,price,size\n", "no levels; give at least one"),
}


@pytest.mark.parametrize("case", list(BAD_LEVELS))
def test_bad_levels_of_an_order_book_are_refused(folder, case):
    before, after, message = BAD_LEVELS[case]
    path = folder / "levels.csv"
    path.write_text(LEVELS.replace(before, after))
    with pytest.raises(mm.DataError, match=rf"levels\.csv: {re.escape(message)}"):
        mm.read_market(write(folder, TOML, "market.toml"))


def test_levels_of_one_side_and_as_parquet(folder):
    path = folder / "levels.parquet"
    rows = {"side": ["ask", "ask"], "price": [101, 102], "size": [4.0, 1.0]}
    pd.DataFrame(rows).to_parquet(path)
    assert read_order_book(path) == {"bids": (), "asks": ((101.0, 4.0), (102.0, 1.0))}
