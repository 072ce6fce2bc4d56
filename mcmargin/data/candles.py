"""Candles: tables whose columns are one asset's open, high, low, close and volume.

In: names of columns. Out: whether they are candles and not assets, and which column of a table is
the price that somebody asked for. Exchanges and vendors of data export candles by default, and
taken for assets they would be five of them, with a volume for a price.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from mcmargin.checks import few
from mcmargin.errors import DataError

_WORDS = {
    "open": "open openprice opening openingprice eroffnung eroffnungskurs erster apertura abertura "
    "ouverture ouv otwarcie 始値 开盘 开盘价 開盤 開盤價 시가",
    "high": "high highprice hoch tageshoch hochst maximo maxima massimo haut plushaut najwyzszy "
    "高値 最高 最高价 最高價 고가",
    "low": "low lowprice tief tagestief tiefst minimo minima minimum basso bas plusbas najnizszy "
    "安値 最低 最低价 最低價 저가",
    "close": "close closeprice closing closingprice adjclose adjustedclose adjclosingprice "
    "closeadj last lastprice pxlast settle settlement schluss schlusskurs cierre chiusura "
    "fechamento ultimo cloture dernier zamkniecie 終値 收盘 收盘价 收盤 收盤價 종가",
    "beside": "volume vol volumen volumes volumefrom volumeto basevolume quotevolume volumequote "
    "quoteassetvolume turnover amount trades tradecount numberoftrades count vwap weightedaverage "
    "opentime closetime unix timestamp time date datetime symbol ticker dividends dividend "
    "stocksplits capitalgains splitratio openinterest openint marketcap change changepercent "
    "changepct pctchange takerbuybasevolume takerbuyquotevolume takerbuybaseassetvolume "
    "takerbuyquoteassetvolume takerbase takerquote ignore umsatz stuck wolumen 出来高 成交量 "
    "成交额 거래량",
}
"""What the columns of candles are called, in lower case and without anything but letters."""

_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_MARKS = re.compile(r"[\s_.,|:/-]+")
_PRICES = ("open", "high", "low", "close")


def kind_of(name: str) -> str | None:
    """Say which column of candles a name is: a price, `beside` one, or None for neither.

    Examples
    --------
    >>> [kind_of(name) for name in ("Adj Close", "close_price", "Vol.", "Máximo", "btc")]
    ['close', 'close', 'beside', 'high', None]
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(each for each in plain if each.isalnum())
    # A number that some vendors put before each name, such as "4. close".
    kind = _KINDS.get(letters) or _KINDS.get(letters.lstrip("0123456789"))
    if kind is None and re.match(r"volume\b", name.strip(), re.IGNORECASE):
        # Such as "Volume BTC", or "Volume (USDT)".
        return "beside"
    return kind


def are_candles(names: Sequence[str]) -> bool:
    """Whether columns are those of one asset's candles.

    Three prices of a candle are enough; or a close with another of its columns, where all columns
    are of candles: LOW and OPEN are tickers, and so are C, O and V.

    Examples
    --------
    >>> are_candles(["Open", "High", "Low", "Close", "Volume"]), are_candles(["LOW", "AAPL"])
    (True, False)
    """
    kinds = [kind_of(name) for name in names]
    prices = {kind for kind in kinds if kind in _PRICES}
    if len(prices) >= 3 or set("ohlc") <= {name.strip() for name in names}:
        return True
    whole = None not in kinds and len(set(kinds)) >= 2 and bool(prices)
    return whole and bool({"close", "beside"} & set(kinds))


def split_names(names: Sequence[str]) -> list[tuple[str, str]] | None:
    """Fields and assets of columns that are named by both, as "Close_AAPL" or "btc close".

    Returns
    -------
    list of (str, str), or None
        None where some column is not so named, or all have the same field.

    Examples
    --------
    >>> split_names(["Close_AAPL", "High_AAPL"])
    [('Close', 'AAPL'), ('High', 'AAPL')]
    >>> split_names(["spot close", "future close"]) is None
    True
    """
    for last in (False, True):
        pairs = [_split(name, last) for name in names]
        kinds = {kind_of(pair[0]) for pair in pairs if pair is not None}
        if None not in pairs and len(kinds) >= 2:
            return [pair for pair in pairs if pair is not None]
    return None


def _split(name: str, last: bool) -> tuple[str, str] | None:
    """Field and asset of one name, the field being the first or the last part; None for none."""
    found = None
    for mark in _MARKS.finditer(name):
        parts = [part.strip(" ()'\"") for part in (name[: mark.start()], name[mark.end() :])]
        field, asset = reversed(parts) if last else parts
        # Of several the longest: "Adj Close" of "Adj Close_AAPL".
        if kind_of(field) is not None and asset and not (found and last):
            found = field, asset
    return found


def chosen_columns(names: Sequence[str], price: str, source: str) -> list[int]:
    """Places of the columns that are a price, by its name or by what it is called elsewhere.

    Raises
    ------
    DataError
        Where there is none.

    Examples
    --------
    >>> chosen_columns(["Open", "Close", "Adj Close"], "close", "p.csv")
    [1]
    """
    exact = [at for at, name in enumerate(names) if name.strip().casefold() == price.casefold()]
    if exact:
        return exact
    kind = kind_of(price)
    alike = [at for at, name in enumerate(names) if kind in _PRICES and kind_of(name) == kind]
    if not alike:
        raise DataError(
            f"{source}: there is no column {price!r}; there are {few(dict.fromkeys(names))}"
        )
    return alike


def candles_fault(names: Sequence[str], source: str, asset: str | None) -> DataError:
    """What is said where candles would be taken for assets."""
    closes = [name for name in names if kind_of(name) == "close" or name.strip() == "c"]
    best = [*closes, *(name for name in names if kind_of(name) in _PRICES)][0]
    named = "" if asset else ", asset='NAME'"
    return DataError(
        f"{source}: the columns {few(names)} are one asset's candles, and not assets; take one of "
        f"them: price={best!r}{named} in Python, --price {best!r} on the command line"
        + (f" (the asset is then called {asset!r}, after the file)" if asset else "")
    )


def levels_fault(fields: Sequence[str], source: str) -> DataError:
    """What is said where a table has a field and an asset above each column."""
    best = next((name for name in fields if kind_of(name) == "close"), fields[0])
    return DataError(
        f"{source}: above each column stand a field ({few(dict.fromkeys(fields))}) and an asset; "
        f"take one field: price={best!r} in Python, --price {best!r} on the command line"
    )
