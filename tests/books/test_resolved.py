"""A book resolved once: what all stages use of it, after trades too, and as a pickle."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from mcmargin.books.accounts import Account
from mcmargin.books.book import Book
from mcmargin.books.resolved import ResolvedBook, resolve
from mcmargin.demo import demo_model
from mcmargin.errors import DataError
from mcmargin.instruments.instruments import Balance, Perpetual, Spot
from mcmargin.markets.market import Market
from mcmargin.policies.policy import MarginPolicy
from mcmargin.policies.policy_parts import Collateral

MODEL = demo_model()
PRICES = dict(zip(MODEL.assets, MODEL.state.prices.tolist(), strict=True))
MARKET = Market(as_of=MODEL.as_of, spot=PRICES, coins=("wti",))
INSTRUMENTS = (Spot("S", "sp500"), Spot("N", "nasdaq"), Perpetual("P", "sp500"))
ACCOUNTS = (
    Account("a", owner="o", netting="net"),
    Account("b", owner="o", netting="net"),
    Account("coin", "wti"),
    Account("lone", mode="isolated"),
)
POSITIONS = pd.DataFrame(
    [
        ("a", "S", 2.0, np.nan),
        ("b", "S", -5.0, np.nan),
        ("a", "P", 3.0, PRICES["sp500"] - 10.0),
        ("coin", "S", 1.0, np.nan),
        ("lone", "S", 4.0, np.nan),
        ("lone", "P", -1.0, PRICES["sp500"]),
    ],
    columns=["account", "instrument", "quantity", "entry_price"],
)
ORDERS = pd.DataFrame(
    [("a", "N", 1.5), ("a", "N", -2.5), ("lone", "N", 7.0)],
    columns=["account", "instrument", "quantity"],
)
BALANCES = pd.DataFrame(
    [("a", "USD", 1000.0), ("a", "wti", 6.0), ("b", "nasdaq", 0.5), ("coin", "wti", 900.0)],
    columns=["account", "asset", "amount"],
)


def book_of() -> Book:
    return Book.from_frame(
        POSITIONS, instruments=INSTRUMENTS, accounts=ACCOUNTS, orders=ORDERS, balances=BALANCES
    )


def resolved_of(mode: str = "joint") -> ResolvedBook:
    part = Collateral(mode)
    return resolve(book_of(), MODEL, MARKET, MarginPolicy(collateral=part))


def entries(resolved: ResolvedBook, row: int, name: str = "quantities") -> dict[object, float]:
    """What one account has, by instrument."""
    line = getattr(resolved, name).toarray()[row]
    pairs = zip(resolved.instruments, line.tolist(), strict=True)
    return {item if isinstance(item, Balance) else item.name: size for item, size in pairs if size}


def test_balances_that_move_stand_after_the_instruments() -> None:
    """Of joint balances: cash in the account's own currency stays, all else moves.

    What the perpetual of `a` has gained is dollars, and so its own cash.
    """
    resolved = resolved_of()
    coin, index = Balance("wti", "wti", "USD"), Balance("nasdaq", "nasdaq", "USD")
    assert resolved.instruments == (*resolved.book.instruments, index, coin)
    assert entries(resolved, 0) == {"S": 2.0, "P": 3.0, coin: 6.0}
    assert entries(resolved, 1) == {"S": -5.0, index: 0.5}
    assert entries(resolved, 2) == {"S": 1.0, coin: 900.0}
    assert entries(resolved, 0, "buys") == {"N": 1.5}
    assert entries(resolved, 0, "sells") == {"N": -2.5}


def test_no_balance_moves_where_haircuts_are_taken() -> None:
    resolved = resolved_of("haircut")
    assert resolved.instruments == resolved.book.instruments
    assert resolved.quantities is resolved.book.quantities
    assert resolved.posted.amounts.tolist() == resolved_of().posted.amounts.tolist()


def test_units_are_those_of_what_moves() -> None:
    """An owner's unit is the sum of its accounts, moving balances included."""
    resolved = resolved_of()
    units = resolved.units
    assert units.owner == ("o",)
    whole = resolved.quantities.toarray()
    np.testing.assert_array_equal(units.quantities.toarray()[-1], whole[0] + whole[1])
    assert (units.account == [0, 1, 2, 3, 3, 3, -1]).all()


def test_unrealised_is_in_the_currency_of_the_account() -> None:
    assert resolved_of().unrealised.tolist() == [3.0 * 10.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("trades", [{"S": -2.0}, {"P": 1.0, "S": 0.5}, {}])
def test_trades_of_what_is_held_keep_the_instruments(trades: dict[str, float]) -> None:
    """Nothing has to be valued again, and the account is alone in its book."""
    resolved = resolved_of()
    after = resolved.after_trades(0, trades)
    assert after.instruments is resolved.instruments
    expected = entries(resolved, 0)
    for name, size in trades.items():
        expected[name] += size
    assert entries(after, 0) == {name: size for name, size in expected.items() if size}
    assert entries(after, 0, "sells") == {"N": -2.5}
    assert [account.name for account in after.book.accounts] == ["a"]
    assert after.units.quantities.shape == (1, len(resolved.instruments))
    assert after.posted.amounts.tolist() == [1000.0, 6.0]
    assert after.posted.account.tolist() == [0, 0]
    assert after.unrealised.tolist() == [30.0]


def test_a_trade_of_what_nobody_holds_brings_its_instrument() -> None:
    """The account's own instruments remain, and those of others go."""
    book = Book.from_frame(POSITIONS[:4], instruments=INSTRUMENTS)
    resolved = resolve(book, MODEL, MARKET, MarginPolicy())
    assert [item.name for item in resolved.instruments] == ["P", "S"]
    after = resolved.after_trades(1, {"N": 2.0})
    assert [item.name for item in after.instruments] == ["N", "S"]
    assert entries(after, 0) == {"N": 2.0, "S": -5.0}


def test_an_account_in_coin_pays_in_coin() -> None:
    resolved = resolved_of()
    coin = Balance("wti", "wti", "USD")
    after = resolved.after_trades(2, {"S": 2.0})
    paid = 2.0 * PRICES["sp500"] / PRICES["wti"]
    assert resolved.cost(2, {"S": 2.0}) == pytest.approx(paid, rel=1e-15)
    assert entries(after, 0) == {"S": 3.0, coin: pytest.approx(900.0 - paid, rel=1e-15)}
    kept = resolved_of("haircut").after_trades(2, {"S": 2.0})
    assert entries(kept, 0) == {"S": 3.0}


def test_a_book_that_cannot_be_valued_is_not_resolved() -> None:
    rows = {"account": ["a"], "instrument": ["gold"], "quantity": [1.0]}
    with pytest.raises(DataError, match="the model has no asset 'gold'"):
        resolve(Book.from_frame(pd.DataFrame(rows)), MODEL, MARKET, MarginPolicy())


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        resolved_of().collateral_mode = "haircut"  # type: ignore[misc]


def test_a_pickle_is_the_same() -> None:
    book = book_of()
    again = pickle.loads(pickle.dumps(book))
    assert again.fingerprint() == book.fingerprint()
    assert again.known == book.known
    resolved = resolved_of()
    copy = pickle.loads(pickle.dumps(resolved))
    assert copy.instruments == resolved.instruments
    assert copy.posted.kinds == resolved.posted.kinds
    for name in ("quantities", "buys", "sells"):
        assert (getattr(copy, name) != getattr(resolved, name)).nnz == 0
    assert (copy.units.quantities != resolved.units.quantities).nnz == 0
    after = copy.after_trades(0, {"S": 1.0})
    assert entries(after, 0) == entries(resolved.after_trades(0, {"S": 1.0}), 0)
