"""Collateral margined jointly with positions: wrong-way risk, hedges, isolated accounts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.numerics.tail import expected_shortfall
from mcmargin.policies.policy_parts import (
    Collateral,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
)
from tests.helpers.books import book_of
from tests.helpers.coin_book import (
    ACCOUNTS,
    AS_OF,
    EVEN,
    FIVE_WORST,
    ITEMS,
    POSTED,
    ROWS,
    market_of,
)
from tests.helpers.models import scenarios_of_three


def one(report, name="x"):
    return report.account(name)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


# Jointly


def test_a_coin_that_falls_where_the_position_loses_is_wrong_way_risk():
    """Long 1 at 100 and 2 coins: the five worst are -50, -49 … -46 %, 48 on average. Alone 48;
    together that of 3 coins, 144; wrong-way 96. In equity the coins count in full, 200."""
    account = one(
        mm.margin(book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 2)]), EVEN, policy=FIVE_WORST)
    )
    merged = one(mm.margin(book_of([("x", "S", 3)], ITEMS), EVEN, policy=FIVE_WORST))
    assert account.margin == merged.margin == pytest.approx(144.0)
    assert account.wrong_way == pytest.approx(96.0)
    assert (account.collateral, account.equity) == (200.0, 200.0)
    assert account.gross_exposure == account.net_exposure == 100.0
    shares = {(c.kind, c.instrument): (c.quantity, c.exposure, c.contribution) for c in
              account.contributions}  # fmt: skip
    assert shares == {
        ("position", "PERP"): (1.0, 100.0, pytest.approx(48.0)),
        ("collateral", "a0"): (2.0, 200.0, pytest.approx(96.0)),
    }


def test_a_coin_under_a_short_is_its_hedge():
    """Short 1: the five worst are +45 … +49 %, 47. With half a coin it is a short of half, 23.5:
    wrong-way -23.5. With a whole one there is nothing left."""
    half, whole = (
        one(
            mm.margin(
                book_of([("x", "PERP", -1)], ITEMS, [("x", "a0", q)]), EVEN, policy=FIVE_WORST
            )
        )
        for q in (0.5, 1.0)
    )
    assert half.margin == pytest.approx(23.5)
    assert half.wrong_way == pytest.approx(-23.5)
    assert whole.margin == pytest.approx(0.0, abs=1e-13)
    assert whole.wrong_way == pytest.approx(-47.0)


def test_cash_in_the_accounts_currency_neither_moves_nor_is_held():
    bare = mm.margin(book_of([("x", "PERP", 1)], ITEMS), EVEN, policy=FIVE_WORST)
    cash = mm.margin(
        book_of([("x", "PERP", 1)], ITEMS, [("x", "USD", -70)]), EVEN, policy=FIVE_WORST
    )
    assert one(cash).equity == -70.0
    assert one(cash).wrong_way == 0.0
    assert one(cash).margin == one(bare).margin
    assert [each.kind for each in one(cash).contributions] == ["position"]
    assert one(bare).equity is None
    assert np.isnan(bare.figures["equity"]).all()


def test_a_coin_margined_accounts_own_coin_moves():
    """In coin at 100: long 1 and 2 coins lose 144 dollars, which is 1.44 coins at today's spot."""
    book = book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 2)], accounts=[mm.Account("x", "a0")])
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 100.0}, coins=("a0",))
    account = one(mm.margin(book, EVEN, market, FIVE_WORST))
    assert account.margin == pytest.approx(1.44)
    assert account.equity == 2.0
    assert account.wrong_way == pytest.approx(0.96)
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    report = mm.margin(book, EVEN, market, policy)
    assert report.haircuts["haircut"].tolist() == [pytest.approx(0.48)]
    assert one(report).equity == pytest.approx(2 * 0.52)
    with pytest.raises(mm.DataError, match=r"'a0'.*name it in coins"):
        mm.margin(book, EVEN, policy=FIVE_WORST)
    cash = book_of([], ITEMS, [("x", "a0", 2)], accounts=[mm.Account("x", "a0")])
    with pytest.raises(mm.DataError, match=r"'x', balance 'a0': the market has no rate.* in coins"):
        mm.margin(cash, EVEN, policy=FIVE_WORST)


def entered(instrument, quantity, price, balances, **options):
    """One position that was entered at a price, with balances."""
    return book_of([("x", instrument, quantity, price)], ITEMS, balances, **options)


@pytest.mark.parametrize(
    ("quantity", "price", "coins", "settled", "margin"),
    [
        # 200 dollars of contracts from 50: 200 (1/50 - 1/100) = 2 coins. A coin is 100 r a path,
        # and so is what the contracts gain in dollars, 200 S' (1/100 - 1/S') = 200 r: 4 x 48.
        (20, 50.0, 0.0, 2.0, 192.0),
        # Short from 200, and a coin: 1 + 200 (1/100 - 1/200) coins and 200 of short contracts are
        # 200 dollars wherever the coin goes.
        (-20, 200.0, 1.0, 2.0, 0.0),
    ],
)
def test_what_an_inverse_contract_has_gained_moves_as_coin(quantity, price, coins, settled, margin):
    open_, paid = (
        one(
            mm.margin(
                entered("INV", quantity, entry, [("x", "a0", posted)]), EVEN, policy=FIVE_WORST
            )
        )
        for entry, posted in ((price, coins), (100.0, settled))
    )
    assert open_.margin == pytest.approx(margin, abs=1e-12)
    assert open_.equity == pytest.approx(200.0)
    assert (open_.margin, open_.equity, open_.wrong_way) == pytest.approx(
        (paid.margin, paid.equity, paid.wrong_way), abs=1e-12
    )


def test_what_a_contract_in_another_currency_has_gained_moves_with_its_rate(scenarios):
    """As the same amount of settled cash does: 3 x (100 - 20) dollars, of an account in euro."""
    euro = [mm.Account("x", "EUR")]
    open_, paid = (
        one(mm.margin(entered("PERP", 3, entry, [("x", "USD", cash)], accounts=euro), scenarios,
                      market_of()))
        for entry, cash in ((20.0, 10.0), (100.0, 250.0))
    )  # fmt: skip
    assert open_.margin == pytest.approx(paid.margin, rel=1e-12)
    assert open_.equity == pytest.approx(paid.equity) == pytest.approx(250 / 1.25)


def test_an_isolated_accounts_balances_stand_alone():
    """Nothing covers the short: 47 for it, 48 for the coin; together 95, so wrong-way 48."""
    book = book_of(
        [("x", "PERP", -1)], ITEMS, [("x", "a0", 1)], accounts=[mm.Account("x", mode="isolated")]
    )
    account = one(mm.margin(book, EVEN, policy=FIVE_WORST))
    assert account.margin == pytest.approx(95.0)
    assert account.wrong_way == pytest.approx(48.0)


def test_an_isolated_account_of_cash_alone():
    book = book_of([], ITEMS, [("x", "USD", 5)], accounts=[mm.Account("x", mode="isolated")])
    report = mm.margin(book, EVEN, policy=FIVE_WORST)
    assert (one(report).margin, one(report).equity) == (0.0, 5.0)
    assert len(report.attribution()) == 0


def test_an_owner_who_nets_nets_collateral_too():
    """a is short 1, b has the coin: netted nothing is left."""
    accounts = [mm.Account(name, owner="o", netting="net") for name in "ab"]
    book = book_of([("a", "PERP", -1)], ITEMS, [("b", "a0", 1)], accounts=accounts)
    report = mm.margin(book, EVEN, policy=FIVE_WORST)
    assert report.figures["margin"].tolist() == [pytest.approx(47.0), pytest.approx(48.0)]
    assert report.owners["margin"].tolist() == [pytest.approx(0.0, abs=1e-13)]
    # On its own a is called; the owner's 100 cover what is left of both, which is nothing.
    assert report.statuses()["state"].tolist() == ["margin call", "healthy"]
    (owner,) = report.statuses(by="owner").to_dict("records")
    assert (owner["owner"], owner["equity"], owner["state"]) == ("o", 100.0, "healthy")
    again = mm.MarginReport.from_json(report.to_json())
    pd.testing.assert_frame_equal(again.owners, report.owners)
    with pytest.raises(mm.DataError, match="by 'desk' is unknown; give 'account' or 'owner'"):
        report.statuses(by="desk")


def test_collateral_is_charged_by_no_size():
    """The market knows the spot's book, and its name is the asset's: collateral is no position."""
    items = [mm.Spot("a0", "a0")]
    known = {"a0": mm.InstrumentLiquidity(daily_volume=10.0, spread=0.01)}
    market = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 100.0}, liquidity=known)
    policy = replace(
        FIVE_WORST,
        liquidity=Liquidity(),
        leverage=Leverage((LeverageTier(float("inf"), 2.0),)),
    )
    accounts = [mm.Account("x")]
    book = book_of([], items, [("x", "a0", 50)], accounts=accounts)
    account = one(mm.margin(book, EVEN, market, policy))
    assert account.margin == account.base == pytest.approx(50 * 48.0)
    assert (account.liquidity, account.leverage_minimum, account.gross_exposure) == (0, 0, 0)


def test_a_joint_loss_by_hand(scenarios):
    """In euro, whose rate is a2's: what is held is worth w today and w' on a path; cash in euro is
    what it was, and variation margin in dollars is changed at the path's rate."""
    book = book_of(
        [("x", "PERP", 3)],
        ITEMS,
        [("x", "a0", 1.5), ("x", "USD", 40), ("x", "EUR", -30)],
        accounts=ACCOUNTS,
    )
    report = mm.margin(book, scenarios, market_of())
    coin, euro = (scenarios.returns[1, at] for at in (0, 2))
    then = (150 * (1 + coin) + 40 + 300 * coin) / (1.25 * (1 + euro))
    gains = then - (150 + 40) / 1.25
    np.testing.assert_allclose(report.profit_and_loss("x"), gains, atol=1e-10)
    account = one(report)
    assert account.margin == pytest.approx(expected_shortfall(-gains, level=0.99))
    alone = 300 * coin / (1.25 * (1 + euro))
    together = expected_shortfall(-gains, level=0.99)
    assert account.wrong_way == pytest.approx(together - expected_shortfall(-alone, level=0.99))
    total = sum(each.contribution for each in account.contributions)
    assert total == pytest.approx(account.expected_shortfall, rel=1e-12)


def test_blocks_and_memory_change_no_figure(scenarios, monkeypatch):
    book = book_of(ROWS, ITEMS, POSTED, accounts=ACCOUNTS)
    policy = mm.MarginPolicy(maintenance=Maintenance(level=0.95))
    base = mm.margin(book, scenarios, market_of(), policy)
    for limit in (1, 3 * 8 * 2048):
        again = mm.margin(book, scenarios, market_of(), policy, memory_limit=limit, threads=2)
        pd.testing.assert_frame_equal(again.figures, base.figures, rtol=1e-12)
    monkeypatch.setattr("mcmargin.margins.figures.BLOCK_BYTES", 1)
    assert mm.margin(book, scenarios, market_of(), policy, threads=2).accounts == base.accounts


holdings = st.lists(
    st.tuples(st.sampled_from(["PERP", "S", "INV", "FUT", "PUT"]), st.floats(-9, 9)),
    min_size=1, max_size=4, unique_by=lambda row: row[0],
)  # fmt: skip
posted = st.lists(
    st.tuples(st.sampled_from(["a0", "a1", "USD", "EUR", "USDT"]), st.floats(0, 9)),
    max_size=4, unique_by=lambda row: row[0],
)  # fmt: skip


@given(holdings, posted, st.sampled_from(["joint", "haircut"]), st.sampled_from(["USD", "EUR"]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_always_holds(scenarios, held, balances, mode, currency):
    """Contributions add up; maintenance is at most initial; wrong-way risk lies between what the
    collateral risks alone and, with the sign turned, what owing it would."""
    rows, posted = ([("x", *row) for row in given] for given in (held, balances))
    book = book_of(rows, ITEMS, posted, accounts=[mm.Account("x", currency)])
    policy = mm.MarginPolicy(
        maintenance=Maintenance(level=0.9, horizon=1), collateral=Collateral(mode)
    )
    report = mm.margin(book, scenarios, market_of(), policy)
    account = one(report)
    moving = [each for each in account.contributions if each.kind == "collateral"]
    scale = account.gross_exposure + sum(abs(each.exposure) for each in moving)
    total = sum(each.contribution for each in account.contributions)
    assert abs(total - account.expected_shortfall) <= 1e-12 * scale
    assert account.maintenance <= account.margin
    assert report.haircuts["haircut"].between(0, 1).all()
    if mode == "haircut":
        assert (account.wrong_way, moving) == (0.0, [])
    coin = [mm.Account("z", currency)]
    up, down = (
        mm.margin(
            book_of(
                [("z", f"c {a}", sign * q) for a, q in balances if a != currency],
                [mm.Spot(f"c {a}", a) for a, _ in balances],
                [("z", currency, 0.0)],
                accounts=coin,
            ),
            scenarios,
            market_of(),
        )
        .accounts[0]
        .expected_shortfall
        if any(a != currency for a, _ in balances)
        else 0.0
        for sign in (1, -1)
    )
    if mode == "joint":
        assert -down - 1e-9 * scale <= account.wrong_way <= up + 1e-9 * scale


# Balances that cannot be


def test_an_account_that_is_named_needs_no_position():
    accounts = [mm.Account("x"), mm.Account("y", "EUR")]
    book = book_of([("x", "PERP", 1)], ITEMS, [("y", "USD", 1)], accounts=accounts)
    assert [account.name for account in book.accounts] == ["x", "y"]
    with pytest.raises(
        mm.DataError, match="row 2: account 'z' is unknown; add it, or correct the name"
    ):
        book_of([("x", "PERP", 1)], ITEMS, [("z", "USD", 1)], accounts=accounts)


def test_own_cash_needs_a_rate_and_no_risk(scenarios):
    """A book in pounds alone: cash in pounds is worth itself, and a coin what it is in pounds."""
    market = mm.Market(
        as_of=AS_OF, spot={"a0": 100.0, "a1": 50.0}, fx={"GBP": 1.3}, quoted={"a0": "GBP"}
    )
    items = [mm.Spot("P", "a0", "GBP")]
    accounts = [mm.Account("x", "GBP")]
    book = book_of([("x", "P", 1)], items, [("x", "GBP", 0.3)], accounts=accounts)
    assert one(mm.margin(book, scenarios, market)).collateral == 0.3
    book = book_of([("x", "P", 1)], items, [("x", "a0", 2)], accounts=accounts)
    account = one(mm.margin(book, scenarios, market))
    assert account.collateral == pytest.approx(200.0)
    assert account.wrong_way == pytest.approx(2 / 3 * account.margin)


# Filed and computed again


@pytest.mark.parametrize("mode", ["joint", "haircut"])
def test_a_report_with_balances_is_filed_and_verified(scenarios, mode):
    policy = mm.MarginPolicy(
        horizon=2, maintenance=Maintenance(level=0.95), collateral=Collateral(mode)
    )
    book = book_of([(*row, 80.0) for row in ROWS], ITEMS, POSTED, accounts=ACCOUNTS)
    report = mm.margin(book, scenarios, market_of(), policy)
    again = mm.MarginReport.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert again.accounts == report.accounts
    pd.testing.assert_frame_equal(again.haircuts, report.haircuts)
    assert mm.verify(again, scenarios.model, book).verdict == "equal"
    other = mm.verify(again, scenarios.model, book_of(ROWS, ITEMS, POSTED, accounts=ACCOUNTS))
    assert (other.verdict, other.reasons[0]) == ("different", "the book's fingerprint differs")
    if mode == "haircut":
        altered = replace(again, haircuts=again.haircuts.assign(haircut=0.5))
        assert mm.verify(altered, scenarios.model, book).verdict == "different"
    altered = replace(again, figures=again.figures.assign(equity=again.figures["equity"] + 1))
    assert mm.verify(altered, scenarios.model, book).verdict == "different"
