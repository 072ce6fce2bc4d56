"""Candles, in every spelling that vendors give them, are one asset and never five."""

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from tests.helpers.commands import called

DAYS = pd.date_range("2024-01-01", periods=3)
VALUES = np.array([[10.0, 11, 9, 10.5, 1000], [10.5, 12, 10, 11, 1200], [11, 11.5, 10, 10.2, 900]])
HEADERS = {
    "yahoo": "Date,Open,High,Low,Close,Volume",
    "shouted": "DATE,OPEN,HIGH,LOW,CLOSE,VOLUME",
    "ccxt": "timestamp,open,high,low,close,volume",
    "snake": "time,open_price,high_price,low_price,close_price,vol.",
    "alpha vantage": "timestamp,1. open,2. high,3. low,4. close,5. volume",
    "german": "Datum,Eröffnung,Hoch,Tief,Schlusskurs,Volumen",
    "french": "Date,Ouv.,Plus Haut,Plus Bas,Dernier,Vol.",
    "spanish": "Fecha,Apertura,Máximo,Mínimo,Último,Vol.",
    "polish": "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
    "japanese": "日付,始値,高値,安値,終値,出来高",
    "chinese": "日期,开盘,最高,最低,收盘,成交量",
    "letters": "t,o,h,l,c,v",
}


def candle_file(tmp_path, header, name="GOOG.csv"):
    cells = [",".join(map(str, row)) for row in VALUES]
    rows = [f"{day:%Y-%m-%d},{row}" for day, row in zip(DAYS, cells, strict=True)]
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_candles_are_refused_and_the_close_is_offered_and_taken(header, tmp_path):
    path = candle_file(tmp_path, header)
    close = header.split(",")[4]
    with pytest.raises(mm.DataError, match=r"GOOG\.csv: the columns .* are one asset's candles"):
        mm.read_prices(path)
    for price in (close, close.upper()) if header != HEADERS["letters"] else ("c",):
        history = mm.read_prices(path, price=price)
        assert history.assets == ("GOOG",)
        assert history.prices[:, 0].tolist() == VALUES[:, 3].tolist()
    assert mm.read_prices(path, price=close, asset="goog").assets == ("goog",)


def test_the_offer_can_be_taken_as_it_is_printed(tmp_path):
    path = candle_file(tmp_path, HEADERS["yahoo"])
    with pytest.raises(
        mm.DataError, match="price='Close' in Python, --price 'Close' on the command"
    ):
        mm.read_prices(path)
    frame = pd.DataFrame(VALUES, DAYS, HEADERS["yahoo"].split(",")[1:])
    with pytest.raises(mm.DataError, match="price='Close', asset='NAME'"):
        mm.PriceHistory.from_frame(frame)
    with pytest.raises(mm.DataError, match="needs the asset's name, asset='NAME'"):
        mm.PriceHistory.from_frame(frame, price="Close")
    assert mm.PriceHistory.from_frame(frame, price="Close", asset="x").assets == ("x",)
    with pytest.raises(mm.DataError, match="no column 'Settle'; there are Open, High"):
        mm.PriceHistory.from_frame(frame.drop(columns="Close"), price="Settle", asset="x")


def test_an_adjusted_close_is_taken_by_its_own_name(tmp_path):
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-02,10,11,9,10,5,7\n"
    (tmp_path / "a.csv").write_text(text)
    for price, value in (("Close", 10.0), ("Adj Close", 5.0), ("adj close", 5.0)):
        assert mm.read_prices(tmp_path / "a.csv", price=price).prices.tolist() == [[value]]


def two_levels(order):
    columns = pd.MultiIndex.from_product(
        [["Close", "High", "Volume"], ["AAPL", "0700.HK"]], names=["Price", "Ticker"]
    )
    frame = pd.DataFrame(np.arange(1.0, 19.0).reshape(3, 6), DAYS, columns)
    frame.index.name = "Date"
    return frame if order == "price" else frame.swaplevel(axis=1).sort_index(axis=1)


@pytest.mark.parametrize("order", ["price", "ticker"])
@pytest.mark.parametrize("filed", ["frame", "csv", "parquet", "flat"])
def test_two_levels_of_columns_are_taken_by_name(order, filed, tmp_path):
    """As yfinance makes and writes them, with the ticker above or below."""
    frame = two_levels(order)
    path = tmp_path / f"prices.{'csv' if filed in ('csv', 'flat') else 'parquet'}"
    if filed == "flat":
        flat = frame.copy()
        flat.columns = ["_".join(names) for names in frame.columns]
        flat.to_csv(path)
    elif filed != "frame":
        getattr(frame, f"to_{filed}")(path)

    def read(**options):
        if filed == "frame":
            return mm.PriceHistory.from_frame(frame, **options)
        return mm.read_prices(path, **options)

    with pytest.raises(
        mm.DataError, match=r"a field .*and an asset; take one field: price='Close'"
    ):
        read()
    history = read(price="Close")
    wanted = frame.xs("Close", axis=1, level="Price")
    assert sorted(history.assets) == ["0700.HK", "AAPL"]
    for at, asset in enumerate(history.assets):
        assert history.prices[:, at].tolist() == wanted[asset].tolist()


@pytest.mark.parametrize(
    "names",
    [
        *(["LOW", "AAPL"], ["LOW", "OPEN"], ["C", "V", "O"], ["open", "btc"], ["HIGH"], ["H", "L"]),
        *(["close"], ["T", "F", "LOW", "HIGH"], ["btc", "eth", "volume"], ["BTC-C", "BTC-P"]),
    ],
)
def test_tickers_that_are_words_of_candles_are_assets(names):
    frame = pd.DataFrame(np.ones((3, len(names))) + np.arange(3)[:, None], DAYS, names)
    assert mm.PriceHistory.from_frame(frame).assets == tuple(names)


def test_numeric_tickers_are_names_everywhere(tmp_path):
    """A model, a market, positions and a report of Hong Kong's 0700 and Tokyo's 7203."""
    rng = np.random.default_rng(2)
    moves = 0.02 * rng.standard_normal((300, 2))
    index = pd.date_range("2023-01-02", periods=300)
    frame = pd.DataFrame(100 * np.exp(np.cumsum(moves, axis=0)), index, ["0700", "7203"])
    frame.to_csv(tmp_path / "p.csv")
    history = mm.read_prices(tmp_path / "p.csv")
    assert history.assets == ("0700", "7203")
    kinds = {"volatility": "ewma", "innovations": "normal", "dependence": "gaussian", "jobs": 1}
    model = mm.calibrate(history, **kinds)
    last = frame.iloc[-1]
    market = (
        f"as_of = {index[-1]:%Y-%m-%d}\nspot = {{ 0700 = {last['0700']}, 7203 = {last['7203']} }}\n"
    )
    (tmp_path / "m.toml").write_text(market)
    (tmp_path / "b.csv").write_text("account,instrument,quantity\n0042,0700,10\n42,7203,-5\n")
    scenarios = mm.simulate(model, horizon=1, paths=1000, seed=1)
    book, world = mm.read_positions(tmp_path / "b.csv"), mm.read_market(tmp_path / "m.toml")
    report = mm.margin(book, scenarios, world)
    assert report.figures["account"].tolist() == ["0042", "42"]
    assert mm.MarginReport.from_json(report.to_json()).positions["instrument"].tolist() == [
        "0700",
        "7203",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,btc,\n2024-01-02,45000,\n", "row 1 has an empty cell, since it ends with a comma"),
        (
            "# source x\ndate,btc\n2024-01-02,45000\n",
            "row 1, '# source x', is a comment; take it out",
        ),
        ("// x, y\ndate,btc\n2024-01-02,45000\n", "is a comment; take it out"),
        ("sep=,\ndate,btc\n2024-01-02,45000\n", "names the separator for a spreadsheet"),
        ("\ufeffsep=;\ndate;btc\n2024-01-02;45000\n", "names the separator for a spreadsheet"),
        ("https://www.CryptoDataDownload.com\ndate,btc\n2024-01-02,1\n", "a note about the file"),
        ("date,btc\n2024-01-02,45000\n# end\n", "row 3 is a comment; take it out"),
        ("date;btc\n2024-01-02;45000,5\n", "row 1 is separated by ';'"),
        ("date,7203,\n2024-01-02,1,2\n", "row 1 has an empty cell; a header row"),
    ],
)
def test_lines_that_are_no_cells_are_named(text, said, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(mm.DataError) as caught:
        mm.read_prices(path)
    assert said in str(caught.value)


def test_a_byte_order_mark_before_prices(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffdate,btc\n2024-01-02,45000\n", encoding="utf-8")
    assert mm.read_prices(tmp_path / "p.csv").assets == ("btc",)


def test_the_command_line_takes_a_close(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(4)
    closes = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal(130)))
    index = pd.date_range("2023-01-02", periods=130, name="Date")
    frame = pd.DataFrame({"Open": closes, "High": closes, "Low": closes, "Close": closes}, index)
    frame.iloc[:-1].to_csv(tmp_path / "GOOG.csv")
    frame.to_csv(tmp_path / "newer.csv")
    model = str(tmp_path / "m.npz")
    asked = ["calibrate", str(tmp_path / "GOOG.csv"), "-o", model, "--volatility", "ewma"]
    assert called(asked, monkeypatch, capsys)[0] == 2
    asked += ["--innovations", "normal", "--dependence", "gaussian", "--price", "Close"]
    assert called(asked, monkeypatch, capsys)[0] == 0
    assert mm.load_model(model).assets == ("GOOG",)
    update = ["update", model, str(tmp_path / "newer.csv"), "-o", model, "--price", "Close"]
    assert called(update, monkeypatch, capsys)[0] == 0
    assert str(mm.load_model(model).as_of)[:10] == f"{index[-1]:%Y-%m-%d}"
