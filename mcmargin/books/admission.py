"""Admission: whether a model and a market can value a book.

In: a book, a model and a market; and a policy, which says how old the model's state may be. Out:
nothing, or a `DataError` that names the accounts, the instrument or asset, and what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcmargin.books.accounts import Account
from mcmargin.books.book import Book
from mcmargin.books.collateral import PostedBalances, balance_of
from mcmargin.books.market_check import require_market_of_model, require_plausible_terms
from mcmargin.checks import few
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Instrument, Spot, assets_of
from mcmargin.markets.market import Market
from mcmargin.models.model import MarketModel
from mcmargin.policies.policy import MarginPolicy


def check_book(book: Book, model: MarketModel, market: Market) -> None:
    """Refuse a book that the model or the market cannot value.

    Raises
    ------
    DataError
        It names the accounts, the instrument, and what is missing.
    """
    if not book.accounts:
        raise DataError("the book has no accounts; give at least one position")
    touched = (abs(book.quantities) + abs(book.buys) + abs(book.sells)).tocsc()
    for column, instrument in enumerate(book.instruments):
        rows = touched.indices[touched.indptr[column] : touched.indptr[column + 1]]
        holders = [book.accounts[row] for row in rows]
        _check_held(instrument, f"instrument {instrument.name!r}", holders, model, market)


def check_market(book: Book, model: MarketModel, market: Market, policy: MarginPolicy) -> None:
    """Refuse a market that does not belong to the model or to the book.

    Raises
    ------
    DataError
        It names both dates, or both figures, and the limit to widen if both are right; or a name in
        the market's liquidity that no instrument has.
    """
    require_market_of_model(model, market, policy)
    require_plausible_terms(book.instruments, market)
    names = set(book.known)
    if all(type(each) is Spot and each.name == each.underlying for each in book.known.values()):
        # No instruments were given: then every asset is an instrument, whether it is held or not.
        names |= {*model.assets, *market.fx, market.currency}
    for name in market.liquidity:
        if name not in names:
            raise DataError(
                f"market: liquidity of {name!r}: no instrument has this name; there are "
                f"{few(sorted(names))}; correct the name, or take the table out"
            )


def check_balances(
    posted: PostedBalances, accounts: Sequence[Account], model: MarketModel, market: Market
) -> None:
    """Refuse balances that the model or the market cannot value, and debits that are not cash.

    Raises
    ------
    DataError
        It names the accounts, the asset, and what is missing.
    """
    for at, kind in enumerate(posted.kinds):
        holders = [accounts[row] for row in posted.account[posted.kind == at]]
        what = f"balance {kind.asset!r}"
        if kind.debit and kind.asset not in (market.currency, *market.fx, kind.currency):
            raise DataError(
                f"{_named(holders)}, {what}: a debit must be in cash; enter a borrowed asset as a "
                "short position"
            )
        if not kind.is_own_cash(market):
            _check_held(balance_of(kind.asset, market), what, holders, model, market)
        elif kind.asset not in (market.currency, *market.fx):
            way = "name it in coins" if kind.asset in market.spot else "give it in fx"
            raise DataError(f"{_named(holders)}, {what}: the market has no rate of it; {way}")


def _check_held(
    item: Instrument, what: str, holders: list[Account], model: MarketModel, market: Market
) -> None:
    """Refuse an instrument or a balance that cannot be valued in the currencies of its holders."""
    where = f"{_named(holders)}, {what}"
    for asset in assets_of(item):
        if asset not in (*model.assets, *market.fx, market.currency):
            raise DataError(
                f"{where}: the model has no asset {asset!r}; it has {', '.join(model.assets)}"
            )
        if asset not in (*market.spot, *market.fx, market.currency):
            raise DataError(f"{where}: the market has no price of {asset!r}")
        if asset not in model.assets:
            _check_currency(asset, where, model, market)
    foreign = {market.quoted.get(asset, market.currency) for asset in assets_of(item)}
    for code in foreign - {item.currency}:
        for each in (code, item.currency):
            _check_currency(each, where, model, market)
    for holder in {holder.currency: holder for holder in holders}.values():
        if item.currency != holder.currency:
            for code in (item.currency, holder.currency):
                if code not in market.coins:
                    _check_currency(code, f"{_named([holder])}, {what}", model, market)


def _check_currency(code: str, where: str, model: MarketModel, market: Market) -> None:
    """Refuse a currency that the market has no rate of, or whose rate has no risk."""
    if code in market.coins and code in model.assets:
        return
    if code not in (market.currency, *market.fx):
        way = "name it in coins" if code in market.spot else "give it in fx"
        raise DataError(
            f"{where}: the market has no rate of currency {code!r} in {market.currency}; {way}"
        )
    risky = market.fx_asset.get(code, code) in model.assets
    if not (risky or code == market.currency or code in {*market.fx_volatility, *market.depeg}):
        raise DataError(
            f"{where}: the rate of {code!r} has no risk: it is no asset of the model, and the "
            "market declares no fx_volatility of it (0 to hold it still)"
        )


def _named(holders: list[Account]) -> str:
    """The names of the first few accounts, and the number of the others."""
    if not holders:
        return "no account"
    return f"account{'s' if len(holders) > 1 else ''} {few(repr(each.name) for each in holders)}"
