"""Candles: whether a table has the open, high, low, close and volume of one asset.

In: names of columns. Out: whether they are candles or assets, and which columns are the price that
the user chose. Exchanges and vendors of data export candles by default. Without this check five
columns of candles would be read as five assets, and a volume as a price.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from mcmargin.checks import few
from mcmargin.data.tables import name_of
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
"""Names of the columns of candles, in lower case and in letters alone."""

_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_MARKS = re.compile(r"[\s_.,|:/-]+")
_PRICES = ("open", "high", "low", "close")


def kind_of(name: str) -> str | None:
    """Say which column of candles has a name.

    Returns
    -------
    str or None
        `open`, `high`, `low` or `close`; `beside` for a column that is not a price, such as the
        volume; None if candles have no such column.

    Examples
    --------
    >>> [kind_of(name) for name in ("Adj Close", "close_price", "Vol.", "Máximo", "btc")]
    ['close', 'close', 'beside', 'high', None]
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(each for each in plain if each.isalnum())
    # Some vendors put a number before each name, such as "4. close".
    kind = _KINDS.get(letters) or _KINDS.get(letters.lstrip("0123456789"))
    if kind is None and re.match(r"volume\b", name.strip(), re.IGNORECASE):
        # The name of a coin may follow, as in "Volume BTC" or "Volume (USDT)".
        return "beside"
    return kind


def are_candles(names: Sequence[str]) -> bool:
    """Whether columns are the candles of one asset.

    They are if three of them are prices of a candle; or if all of them are columns of candles, and
    a close or a column that is not a price is among them. One name alone does not tell: LOW and
    OPEN are tickers, too, and so are C, O and V.

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
    """Split names of columns that have a field and an asset, as "Close_AAPL" or "btc close".

    Returns
    -------
    list of (str, str), or None
        Field and asset of each column. None if some column has no such name, or if all columns have
        the same field.

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
    """Field and asset of one name; the field is its first or its last part. None if it has none."""
    found = None
    for mark in _MARKS.finditer(name):
        parts = [part.strip(" ()'\"") for part in (name[: mark.start()], name[mark.end() :])]
        field, asset = reversed(parts) if last else parts
        # If several parts are fields, the longest counts: "Adj Close" of "Adj Close_AAPL".
        if kind_of(field) is not None and asset and not (found and last):
            found = field, asset
    return found


def chosen_columns(names: Sequence[str], price: str, source: str) -> list[int]:
    """Places of the columns that have a name, or another name for the same price.

    Raises
    ------
    DataError
        If there is no such column.

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
    """The error for candles that would be read as assets."""
    closes = [name for name in names if kind_of(name) == "close" or name.strip() == "c"]
    best = [*closes, *(name for name in names if kind_of(name) in _PRICES)][0]
    named = "" if asset else ", asset='NAME'"
    return DataError(
        f"{source}: the columns {few(names)} are one asset's candles, and not assets; take one of "
        f"them: price={best!r}{named} in Python, --price {best!r} on the command line"
        + (f" (the asset is then called {asset!r}, after the file)" if asset else "")
    )


def levels_fault(fields: Sequence[str], source: str) -> DataError:
    """The error for a table that has a field and an asset above each column."""
    best = next((name for name in fields if kind_of(name) == "close"), fields[0])
    return DataError(
        f"{source}: above each column stand a field ({few(dict.fromkeys(fields))}) and an asset; "
        f"take one field: price={best!r} in Python, --price {best!r} on the command line"
    )


def assets_of(
    columns: pd.Index, source: str, price: str | None, asset: str | None
) -> tuple[list[int], list[str]]:
    """Places of the columns that are prices, and the asset of each.

    Parameters
    ----------
    columns : Index
        Names of the columns without the dates', in one or two levels.
    source : str
        Named in errors.
    price : str or None
        The column of candles that is the price.
    asset : str or None
        Name of the asset, if the columns are the candles of one asset.

    Raises
    ------
    DataError
        If the columns are candles and no price is chosen, or a name is not a text.
    """
    if isinstance(columns, pd.MultiIndex):
        if columns.nlevels != 2:
            raise DataError(f"{source}: columns in {columns.nlevels} levels; two at most are read")
        levels = [[str(name).strip() for name in columns.get_level_values(at)] for at in (0, 1)]
        fields, assets = levels
        if None in map(kind_of, fields) and None not in map(kind_of, assets):
            fields, assets = assets, fields
        if price is None:
            raise levels_fault(fields, source)
        places = chosen_columns(fields, price, source)
        return places, [assets[at] for at in places]
    names = []
    for column in columns:
        name = name_of(column)
        # Empty names are refused later, with those of files.
        if name is None and not (isinstance(column, str) and not column.strip()):
            raise DataError(
                f"{source}: a column is called {column!r:.60}; name each by its asset, in text"
            )
        names.append(name or "")
    candles = are_candles(names)
    pairs = None if candles else split_names(names)
    if pairs is not None:
        fields, assets = [field for field, _ in pairs], [name for _, name in pairs]
        if price is None:
            raise levels_fault(fields, source)
        places = chosen_columns(fields, price, source)
        return places, [assets[at] for at in places]
    if price is None:
        if candles:
            raise candles_fault(names, source, asset)
        return list(range(len(names))), names
    places = chosen_columns(names, price, source)[:1]
    if not asset:
        raise DataError(f"{source}: price={price!r} needs the asset's name, asset='NAME'")
    return places, [asset]
