"""Health: statuses at their exact boundaries, leverage, and orders against the account's equity."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Collateral, Maintenance
from tests.helpers.books import balances_of, book_of, positions_of
from tests.helpers.coin_book import ACCOUNTS, EVEN, FIVE_WORST, ITEMS, POSTED, ROWS, market_of
from tests.helpers.models import make_model, scenarios_of_three

TWO_LINES = mm.MarginPolicy(level=0.95, maintenance=Maintenance(level=0.9))


def with_cash(*amounts, policy=TWO_LINES):
    """Accounts x0, x1 …, each long 1 at 100 with an amount of cash."""
    rows = [(f"x{at}", "PERP", 1) for at in range(len(amounts))]
    posted = [(f"x{at}", "USD", amount) for at, amount in enumerate(amounts)]
    return mm.margin(book_of(rows, ITEMS, posted), EVEN, policy=policy)


def test_states_at_their_boundaries():
    """The five worst lose 48, the ten worst 45.5: healthy at the first and above, a call at the
    second and above, and below it liquidation."""
    initial, maintenance = with_cash(0.0).figures[["margin", "maintenance"]].to_numpy()[0]
    assert initial == pytest.approx(48.0)
    assert maintenance == pytest.approx(45.5)
    amounts = [
        *(1000.0, initial, np.nextafter(initial, 0)),
        *(maintenance, np.nextafter(maintenance, 0), -1.0),
    ]
    report = with_cash(*amounts)
    states = ["healthy", "healthy", "margin call", "margin call", "liquidation", "liquidation"]
    assert report.statuses()["state"].tolist() == states
    status = report.status("x0")
    assert [getattr(status, each.name) for each in fields(status)] == [
        *("x0", "USD", 1000.0, initial, maintenance, 1000.0 / maintenance, "healthy"),
        *(1000.0 - initial, 1000.0 - maintenance, 1),
    ]
    assert report.status("x3").margin_ratio == 1.0
    assert report.status("x4").over_maintenance < 0 < maintenance - report.status("x5").equity
    # The perpetuals were given no entry price, and so no profit or loss counts.
    without = (
        ". Equity leaves out the profit or loss of 1 perpetual or future position that has no "
        "entry_price"
    )
    words = "x0: healthy; equity 1,000.00 USD is 952.00 above initial margin 48.00"
    assert str(status) == words + without
    words = "x3: margin call; equity 45.50 USD is 2.50 below initial margin 48.00"
    assert str(report.status("x3")) == words + without
    words = "x5: liquidation; equity -1.00 USD is 46.50 below maintenance margin 45.50"
    assert str(report.status("x5")) == words + without


def test_positions_without_an_entry_price_are_told():
    """Futures and perpetuals count, spot and options do not, nor what has been closed."""
    rows = [
        *(("x", "PERP", 1.0, np.nan), ("x", "FUT", -2.0, np.nan), ("x", "S", 1.0, np.nan)),
        *(("x", "PUT", 1.0, np.nan), ("y", "PERP", 1.0, 100.0), ("z", "FUT", 1.0, np.nan)),
        ("z", "PERP", 0.0, np.nan),
    ]
    frame, posted = positions_of(rows), [(name, "USD", 5000.0) for name in "xyz"]
    book = book_of(frame, ITEMS, posted)
    moving = mm.simulate(make_model(("garch", "garch")), horizon=2, paths=1000, seed=7)
    report = mm.margin(book, moving, market_of())
    expected = {"x": 2, "y": 0, "z": 1}
    for each in (report, mm.MarginReport.from_json(report.to_json())):
        assert dict(zip("xyz", each.statuses()["without_entry_price"], strict=True)) == expected
        assert each.statuses("owner")["without_entry_price"].tolist() == [2, 0, 1]
        assert "of 2 perpetual or future positions that have no entry_price" in str(
            each.status("x")
        )
        assert "entry_price" not in str(each.status("y"))
        told = " ".join(str(each).split())
        assert "of 3 perpetual or future positions of 2 accounts that have no entry_price." in told
    # The missing price is what the note is about: with it, equity has the loss.
    frame.loc[0, "entry_price"] = 110.0
    known = book_of(frame, ITEMS, posted)
    priced = mm.margin(known, moving, market_of())
    gained = 100.0 - 110.0
    assert priced.status("x").equity - report.status("x").equity == pytest.approx(gained)
    assert priced.status("x").without_entry_price == 1


def test_the_frame_is_the_statuses():
    report = with_cash(1000.0, 46.0, 0.0)
    rows = report.statuses().to_dict("records")
    assert rows == [vars(report.status(row["account"])) for row in rows]
    again = mm.MarginReport.from_json(report.to_json())
    pd.testing.assert_frame_equal(again.statuses(), report.statuses())


def test_without_maintenance_margin_equity_itself_is_the_last_line():
    report = with_cash(10.0, 0.0, -0.01, policy=FIVE_WORST)
    assert report.statuses()["state"].tolist() == ["margin call", "margin call", "liquidation"]
    assert report.statuses()["margin_ratio"].tolist() == [np.inf, np.inf, -np.inf]


def test_a_status_without_balances():
    report = mm.margin(book_of([("x", "PERP", 1)], ITEMS), EVEN, policy=FIVE_WORST)
    for ask in (
        lambda: report.status("x"),
        report.statuses,
        lambda: report.max_leverage("x"),
        lambda: report.max_order("x", "PERP", side="buy"),
    ):
        with pytest.raises(mm.DataError, match=r"account 'x': its equity is not known; give the b"):
            ask()
    with pytest.raises(mm.DataError, match="no account 'z'"):
        with_cash(1.0).status("z")


def test_leverage_by_hand():
    """100 of exposure on 240 of cash is 0.4167 times; 48 a contract are covered up to 5 of them,
    2.083 times; and 24 of cash cover half a contract: still 2.083 times."""
    report = with_cash(240.0, 24.0, -5.0)
    x = report.max_leverage("x0")
    assert (x.account, x.currency, x.gross_exposure, x.equity) == ("x0", "USD", 100.0, 240.0)
    assert x.leverage == pytest.approx(100 / 240)
    assert x.max_leverage == pytest.approx(500 / 240, rel=1e-8)
    y, z = report.max_leverage("x1"), report.max_leverage("x2")
    assert (y.leverage, y.max_leverage) == (pytest.approx(100 / 24), pytest.approx(50 / 24))
    assert (z.leverage, z.max_leverage) == (np.inf, 0.0)


def test_leverage_on_coins():
    """2 coins of 100 under a short of 1: with q short, 2 - q coins fall 48 %, q - 2 rise 47 %. 200
    of equity cover q = 2 + 200 / 47; under a long, 2 + q = 200 / 48, so 2.1667 of 2 times more."""
    rows = [("s", "PERP", -1), ("l", "PERP", 1)]
    report = mm.margin(
        book_of(rows, ITEMS, [("s", "a0", 2), ("l", "a0", 2)]), EVEN, policy=FIVE_WORST
    )
    assert report.max_leverage("s").max_leverage == pytest.approx((2 + 200 / 47) / 2, rel=1e-8)
    assert report.max_leverage("l").max_leverage == pytest.approx((200 / 48 - 2) / 2, rel=1e-8)


def test_leverage_that_covers_what_the_collateral_risks():
    """Short f under 2 coins, of 40 in equity: 48 (2 - f) as far as 2, and 47 (f - 2) beyond.

    Neither nothing nor 1 is permitted, and f up to 2 + 40/47 is."""
    book = book_of([("x", "PERP", -1)], ITEMS, [("x", "a0", 2), ("x", "USD", -160)])
    found = mm.margin(book, EVEN, policy=FIVE_WORST).max_leverage("x")
    assert found.max_leverage == pytest.approx(100 / 40 * (2 + 40 / 47))
    book = book_of([("x", "PERP", -1)], ITEMS, [("x", "a0", 2), ("x", "USD", -201)])
    assert mm.margin(book, EVEN, policy=FIVE_WORST).max_leverage("x").max_leverage == 0.0


def test_rounding_permits_no_order():
    report = with_cash(1.0)
    assert report.max_order("x0", "PERP", side="buy") == 0.0


def test_a_hedged_book_takes_any_leverage():
    items = [*ITEMS, mm.Perpetual("TWIN", "a0", basis_volatility=0.0)]
    book = book_of([("x", "PERP", 1), ("x", "TWIN", -1)], items, [("x", "USD", 1)])
    report = mm.margin(book, EVEN, policy=FIVE_WORST)
    assert report.max_leverage("x").max_leverage == np.inf
    cash = book_of([], ITEMS, [("x", "USD", 1)], accounts=[mm.Account("x")])
    with pytest.raises(mm.DataError, match="account 'x' has no positions"):
        mm.margin(cash, EVEN, policy=FIVE_WORST).max_leverage("x")


def test_the_largest_order_by_hand():
    """240 of cash cover 5 contracts, 4 more than are held; short, 240 / 47, and 1 to close."""
    report = with_cash(240.0)
    assert report.max_order("x0", "PERP", side="buy") == pytest.approx(4.0)
    assert report.max_order("x0", "PERP", side="sell") == pytest.approx(1 + 240 / 47)
    assert report.max_order("x0", "PERP", side="buy", equity=96.0) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


@pytest.mark.parametrize("mode", ["joint", "haircut"])
@pytest.mark.parametrize("account", ["x", "y"])
@pytest.mark.parametrize("trades", [{"PERP": 2.0, "FUT": -1.0}, {"INV": 5.0}, {"S": 1.5}, {}])
def test_a_what_if_is_a_full_run_of_the_book_after_it(scenarios, mode, account, trades):
    """What is bought is paid in the account's own cash, and equity stays."""
    policy = mm.MarginPolicy(
        maintenance=Maintenance(level=0.95, horizon=1), collateral=Collateral(mode)
    )
    market = market_of()
    before = mm.margin(book_of(ROWS, ITEMS, POSTED, accounts=ACCOUNTS), scenarios, market, policy)
    found = before.what_if(account, trades)
    rows = [*ROWS, *((account, name, size) for name, size in trades.items())]
    after = positions_of(rows).groupby(["account", "instrument"], as_index=False).sum()
    own = {each.name: each.currency for each in ACCOUNTS}[account]
    paid = trades.get("S", 0.0) * 100.0 / (1.25 if own == "EUR" else 1.0)
    posted = balances_of([*POSTED, (account, own, -paid)])
    posted = posted.groupby(["account", "asset"], as_index=False).sum()
    book = book_of(after, ITEMS, posted, accounts=ACCOUNTS)
    expected = mm.margin(book, scenarios, market, policy).account(account)
    assert found.equity == before.account(account).equity
    for each in fields(expected):
        value = getattr(expected, each.name)
        if isinstance(value, float):
            assert getattr(found, each.name) == pytest.approx(value, rel=1e-9, abs=1e-9), each.name
    assert [(c.kind, c.instrument) for c in found.contributions] == [
        (c.kind, c.instrument) for c in expected.contributions
    ]


@pytest.mark.parametrize("mode", ["joint", "haircut"])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_the_largest_order_takes_all_of_the_equity(scenarios, mode, side):
    policy = mm.MarginPolicy(collateral=Collateral(mode))
    book = book_of(ROWS, ITEMS, [("x", "a0", 3.0), ("y", "a0", 4.0)], accounts=ACCOUNTS)
    report = mm.margin(book, scenarios, market_of(), policy)
    for account in "xy":
        equity = report.status(account).equity
        size = report.max_order(account, "PERP", side=side)
        sign = 1.0 if side == "buy" else -1.0
        assert size > 0
        margin = report.what_if(account, {"PERP": sign * size}).margin
        assert margin == pytest.approx(equity, rel=1e-6)


def test_open_orders_fill_beside_the_collateral(scenarios):
    """A sale covers the coin, a purchase adds to it: the worst fills are those of one book."""
    orders = [("x", "PERP", 4.0), ("x", "PERP", -4.0)]
    book = book_of([], ITEMS, [("x", "a0", 3.0)], accounts=[mm.Account("x")], orders=orders)
    account = mm.margin(book, scenarios, market_of()).account("x")
    filled = mm.margin(book_of([("x", "S", 7.0)], ITEMS), scenarios, market_of()).account("x")
    assert account.margin == pytest.approx(filled.margin, rel=1e-12)
