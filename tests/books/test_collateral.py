"""Collateral: joint and with haircuts, wrong-way risk, equity, and balances that cannot be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.draws.plan import SimulationPlan
from mcmargin.numerics.tail import estimate_tails, expected_shortfall, shortfalls
from mcmargin.policies.policy_parts import (
    Collateral,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
)
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.scenarios.scenarios import Scenarios
from tests.helpers.books import BALANCES, book_of, positions_of
from tests.helpers.coin_book import (
    ACCOUNTS,
    AS_OF,
    EVEN,
    FIVE_WORST,
    ITEMS,
    POSTED,
    ROWS,
    coin_scenarios,
    market_of,
)
from tests.helpers.models import make_model


def one(report, name="x"):
    return report.account(name)


@pytest.fixture(scope="module")
def scenarios():
    return coin_scenarios()


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


COIN = mm.Market(as_of=AS_OF, spot={"a0": 100.0, "a1": 100.0}, coins=("a0",))


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


@pytest.mark.parametrize("mode", ["joint", "haircut"])
@pytest.mark.parametrize("trade", [{"S": 1.0}, {"PUT": 10.0}, {"PERP": -2.0}, {"S": -0.5}])
def test_a_what_if_of_an_account_that_counts_in_coin_pays_in_coin(mode, trade):
    """As a full run of the book after it, that has so many coins fewer, or more."""
    policy = replace(FIVE_WORST, collateral=Collateral(mode, level=0.95))
    accounts = [mm.Account("x", "a0")]
    market = replace(COIN, volatility={"a0": 0.5}, vol_of_vol={"a0": 0.0})
    rows = {"PERP": 1.0, "S": 1.0}
    before = mm.margin(
        book_of([("x", *row) for row in rows.items()], ITEMS, [("x", "a0", 2)], accounts=accounts),
        EVEN, market, policy,
    )  # fmt: skip
    found = before.what_if("x", trade)
    ((name, size),) = trade.items()
    item = next(each for each in ITEMS if each.name == name)
    after = rows | {name: rows.get(name, 0.0) + size}
    book = book_of(
        [("x", *row) for row in after.items()],
        ITEMS,
        [("x", "a0", 2 - size * item.value(market) / 100)],
        accounts=accounts,
    )
    full = one(mm.margin(book, EVEN, market, policy))
    for figure in ("margin", "collateral", "position_value", "equity", "wrong_way"):
        assert getattr(found, figure) == pytest.approx(getattr(full, figure), abs=1e-12), figure


def test_an_account_without_coins_that_buys_some_on_credit_owes_coins():
    """Nothing is gained or lost by it, and any size is permitted; a coin's haircut is freed."""
    accounts = [mm.Account("x", "a0")]
    book = book_of([("x", "PERP", 1)], ITEMS, [("x", "USD", 300)], accounts=accounts)
    market = replace(COIN, fx={"USD": 1.0})
    report = mm.margin(book, EVEN, market, FIVE_WORST)
    before = one(report)
    after = report.what_if("x", {"S": 2.0})
    assert after.margin == pytest.approx(before.margin, abs=1e-12)
    assert after.equity == before.equity
    assert report.max_order("x", "S", side="buy") == float("inf")
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    report = mm.margin(
        book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 2)], accounts=accounts), EVEN, COIN, policy
    )
    # Spot of 1 takes 0.48 of a coin more, as much as its coin counts for more.
    assert report.what_if("x", {"S": 1.0}).equity == pytest.approx(1.04 + 0.48)
    size = report.max_order("x", "PERP", side="buy")
    assert size == pytest.approx((1.04 - 0.48) / 0.48)


def test_a_what_if_without_balances_has_no_collateral():
    account = mm.margin(book_of([("x", "PERP", 1)], ITEMS), EVEN).what_if("x", {"S": 1.0})
    assert (account.collateral, account.equity, account.position_value) == (0.0, None, 100.0)


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


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_shortfalls_are_those_of_the_tail(seed):
    losses = np.random.default_rng(seed).standard_t(4, (3, 1501)).round(1)
    for level in (0.9, 0.99, 0.9873):
        expected = estimate_tails(losses, level=level).expected_shortfall
        np.testing.assert_allclose(shortfalls(losses, level=level), expected, rtol=1e-12)


def test_stress_is_of_positions_and_collateral_together(scenarios):
    """A coin falls 30 %: 30 for long 1, 60 with a coin, nothing for short 1 with a coin, of which
    half is added beyond base. A grid of all others moves coins, and leaves posted cash alone."""
    rows = [("l", "PERP", 1), ("s", "PERP", -1)]
    part = Stress(gaps=(Gap("a0", -0.3),), scenario_weight=0.5, dependence_weight=0.0)
    policy = replace(FIVE_WORST, level=0.9, stress=part)
    coins = [("l", "a0", 1), ("s", "a0", 1)]
    book = book_of(rows, ITEMS, coins)
    report = mm.stress(book, EVEN, policy=policy)
    assert report.accounts["loss"].tolist() == pytest.approx([60.0, 0.0])
    assert report.owners["loss"].tolist() == pytest.approx([60.0, 0.0])
    assert report.scenarios_of("l")["loss"].tolist() == pytest.approx([60.0])
    margin = mm.margin(book, EVEN, policy=policy)
    assert margin.figures["stress_add_on"].tolist() == pytest.approx([0.0, 0.0])
    assert one(margin, "s").margin == pytest.approx(0.0, abs=1e-12)
    deep = replace(policy, stress=replace(part, gaps=(Gap("a0", -0.9),)))
    added = mm.margin(book, EVEN, policy=deep).figures["stress_add_on"]
    assert added.tolist() == pytest.approx([0.5 * (180 - 91.0), 0.0])
    haircut = replace(policy, collateral=Collateral("haircut"))
    assert mm.stress(book, EVEN, policy=haircut).accounts["loss"].tolist() == [30.0, -30.0]
    grid = mm.MarginPolicy(stress=Stress(grids={"*": "okx-major"}))
    cash = [("l", "EUR", 500), ("l", "USD", 500)]
    losses = [
        mm.stress(book_of(rows, ITEMS, [*coins, *more]), scenarios, market_of(), grid).accounts[
            "loss"
        ]
        for more in ([], cash)
    ]
    assert losses[0].tolist() == losses[1].tolist()


# With haircuts


def test_haircuts_by_hand():
    """At 95 % a coin loses 48 % and owing it 47 %; a dollar nothing. 2 coins count 2 x 100 x 0.52,
    and the margin is that of the position alone."""
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    book = book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 2), ("x", "USD", 10)])
    report = mm.margin(book, EVEN, policy=policy)
    shares = report.haircuts.drop(columns=["expected_shortfall_error", "haircut_error"])
    assert shares.to_dict("records") == [
        {"asset": "USD", "currency": "USD", "debit": False, "value": 1.0,
         "expected_shortfall": 0.0, "haircut": 0.0},
        {"asset": "a0", "currency": "USD", "debit": False, "value": 100.0,
         "expected_shortfall": pytest.approx(48.0), "haircut": pytest.approx(0.48)},
    ]  # fmt: skip
    account = one(report)
    assert account.collateral == account.equity == pytest.approx(104.0 + 10.0)
    assert account.margin == pytest.approx(48.0)
    assert account.wrong_way == 0.0


def test_haircuts_have_a_level_of_their_own(scenarios):
    """Of a euro in dollars, and of a dollar in euro, owed and owned: from the same two bars."""
    policy = mm.MarginPolicy(collateral=Collateral("haircut", level=0.975))
    rows = [("x", "PERP", 1), ("y", "PERP", 1)]
    posted = [("x", "USD", 5), ("x", "EUR", -9), ("y", "EUR", -5), ("y", "USDT", 1), ("y", "a0", 1)]
    report = mm.margin(
        book_of(rows, ITEMS, posted, accounts=ACCOUNTS), scenarios, market_of(), policy
    )
    euro, coin = (scenarios.returns[1, at] for at in (2, 0))
    found = {(h.asset, h.currency, h.debit): h.haircut for h in report.haircuts.itertuples()}
    assert found == {
        ("EUR", "EUR", True): 0.0,
        ("EUR", "USD", True): pytest.approx(expected_shortfall(euro, level=0.975)),
        ("USD", "EUR", False): pytest.approx(expected_shortfall(1 - 1 / (1 + euro), level=0.975)),
        # 1 % a bar breaks 2 % of the paths, of the 2.5 % worst: 30 % x 0.0199 / 0.025 about.
        ("USDT", "USD", False): pytest.approx(0.24, abs=0.03),
        ("a0", "USD", False): pytest.approx(expected_shortfall(-coin, level=0.975)),
    }
    short = found["EUR", "USD", True]
    assert one(report, "y").collateral == pytest.approx(
        -5 * 1.25 * (1 + short) + (1 - found["USDT", "USD", False])
        + 100 * (1 - found["a0", "USD", False])
    )  # fmt: skip


def test_dollars_alone_have_no_haircut(scenarios):
    """Nothing that is posted moves: margins are those of an account that posts nothing."""
    policy = mm.MarginPolicy(collateral=Collateral("haircut", level=0.975))
    posted, bare = (
        mm.margin(book_of([("x", "PERP", 1.0)], ITEMS, balances), scenarios, policy=policy)
        for balances in ([("x", "USD", 500.0)], None)
    )
    assert posted.haircuts["haircut"].tolist() == [0.0]
    assert posted.account("x").margin == bare.account("x").margin
    assert (posted.account("x").equity, bare.account("x").equity) == (500.0, None)


def test_a_haircut_takes_no_more_than_all():
    """A debit in a currency that quadruples in 5 % of the scenarios loses 300 % of its value: at
    most 100 % more is counted."""
    model = make_model(("constant",))
    returns = np.zeros((1, 1, 100))
    returns[0, 0, :5] = 3.0  # four times the rate
    plan = SimulationPlan(1, 100, (1,), "double")
    scenarios = Scenarios(model, plan, returns, np.full_like(returns, 1e-4), "numpy", 0, 0)
    market = mm.Market(as_of=AS_OF, spot={}, fx={"a0": 2.0}, plausibility=mm.Plausibility(move=1))
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.95))
    book = book_of([], ITEMS, [("x", "a0", -1)], accounts=[mm.Account("x")])
    report = mm.margin(book, scenarios, market, policy)
    (row,) = report.haircuts.itertuples()
    assert (row.value, row.expected_shortfall, row.haircut) == (2.0, pytest.approx(6.0), 1.0)
    assert one(report).equity == pytest.approx(-4.0)


# Equity


def test_equity_of_a_mixed_account_in_euro(scenarios):
    """At 1.25 dollars a euro and 100 a coin: 1.5 coins are 120 euro, 40 dollars 32, and 30 euro are
    owed: 122. One coin of spot is 80. 3 perpetuals entered at 90 gained 30 dollars, 24 euro; 20
    inverse contracts of 10 dollars entered at 80 gained 200 (1/80 - 1/100) = 0.5 coins, 40 euro.
    4 puts are worth what they are; their entry price changes nothing."""
    rows = [("x", "PERP", 3, 90), ("x", "INV", 20, 80), ("x", "S", 1, None), ("x", "PUT", 4, 7.5)]
    posted = [("x", "a0", 1.5), ("x", "USD", 40), ("x", "EUR", -30)]
    book = book_of(rows, ITEMS, posted, accounts=ACCOUNTS)
    account = one(mm.margin(book, scenarios, market_of()))
    put = 4 * ITEMS[4].value(market_of()) / 1.25
    assert account.collateral == pytest.approx(122.0)
    assert account.position_value == pytest.approx(80.0 + put)
    assert account.unrealised == pytest.approx(24.0 + 40.0)
    assert account.equity == pytest.approx(122.0 + 80.0 + put + 64.0)


def test_unrealised_gains_of_futures_and_of_contracts_in_other_currencies(scenarios):
    """The future stands at 50 exp(0.05 x 366/365); short 2 from 60. A coin is 80 euro:
    1 contract of 3 coins from 70 gained 30 euro, which are 37.5 dollars."""
    items = [*ITEMS, mm.Perpetual("E", "a0", "EUR", contract_size=3.0)]
    book = book_of([("x", "FUT", -2, 60.0), ("x", "E", 1, 70.0)], items)
    price = 50 * np.exp(0.05 * 366 / 365)
    account = one(mm.margin(book, scenarios, market_of()))
    assert account.unrealised == pytest.approx(-2 * (price - 60) + 37.5)
    assert account.equity is None
    again = book_of(book.to_frame(), items)
    assert again.fingerprint() == book.fingerprint()
    assert again.fingerprint() != book_of([("x", "FUT", -2), ("x", "E", 1)], items).fingerprint()


# Balances that cannot be


BAD_BALANCES = {
    "columns": ([("x", "USD")], "columns .*; exactly account, asset, amount are needed"),
    "not finite": (
        [("x", "USD", 1), ("x", "a0", np.inf)],
        "row 3, column 'amount': inf is not fin",
    ),
    "text": ([("x", "USD", "many")], "row 2, column 'amount': 'many' is not a number"),
    "empty": ([("x", "USD", None)], "row 2, column 'amount': empty; give a finite number"),
    "too large": ([("x", "USD", 2e15)], "row 2, column 'amount': 2e\\+15 is beyond 1e\\+15 units"),
    "no asset": ([("x", "", 1)], "row 2, column 'asset': empty"),
    "repeated": (
        [("x", "USD", 1), ("x", "a0", 1), ("x", "USD", 2)],
        "row 4 repeats account 'x' and asset 'USD' of row 2; give each pair once",
    ),
    "unknown account": (
        [("x", "USD", 1), ("z", "USD", 1)],
        "row 3: account 'z' is unknown; it has no position or order: add it to the accounts",
    ),
}


@pytest.mark.parametrize("case", list(BAD_BALANCES))
def test_bad_balances(case):
    rows, message = BAD_BALANCES[case]
    columns = BALANCES[: len(rows[0])]
    with pytest.raises(mm.DataError, match=f"^frame, balances: {message}"):
        book_of([("x", "a0", 1)], balances=pd.DataFrame(rows, columns=columns))


def test_an_account_that_is_named_needs_no_position():
    accounts = [mm.Account("x"), mm.Account("y", "EUR")]
    book = book_of([("x", "PERP", 1)], ITEMS, [("y", "USD", 1)], accounts=accounts)
    assert [account.name for account in book.accounts] == ["x", "y"]
    with pytest.raises(
        mm.DataError, match="row 2: account 'z' is unknown; add it, or correct the name"
    ):
        book_of([("x", "PERP", 1)], ITEMS, [("z", "USD", 1)], accounts=accounts)


@pytest.mark.parametrize(
    ("balance", "currency", "terms", "message"),
    [
        (("gold", 1), "USD", {}, r"'x', balance 'gold': the model has no asset 'gold'; it has a0"),
        (("a1", 1), "USD", {"spot": {"a0": 100.0}}, r"'x', balance 'a1': the market has no price"),
        (("GBP", 1), "USD", {"fx": {"GBP": 1.3}}, r"balance 'GBP': the rate of 'GBP' has no risk"),
        (("a0", 1), "GBP", {"fx": {"GBP": 1.3}}, r"'x', balance 'a0': the rate of 'GBP' has no ri"),
        (("GBP", 1), "GBP", {"fx": {}}, r"'x', balance 'GBP': the market has no rate of it"),
        (("a0", -1), "USD", {}, r"'x', balance 'a0': a debit must be in cash"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["joint", "haircut"])
def test_balances_that_cannot_be_valued(scenarios, balance, currency, terms, message, mode):
    terms = {"fx": {}, "fx_asset": {}, "depeg": {}, "spot": {"a0": 100.0, "a1": 50.0}} | terms
    market = mm.Market(as_of=AS_OF, **terms)
    book = book_of([], ITEMS, [("x", *balance)], accounts=[mm.Account("x", currency)])
    policy = mm.MarginPolicy(collateral=Collateral(mode))
    with pytest.raises(mm.DataError, match=message):
        mm.margin(book, scenarios, market, policy)


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


def test_a_level_of_haircuts_beyond_the_paths():
    policy = replace(FIVE_WORST, collateral=Collateral("haircut", level=0.999))
    with pytest.raises(mm.PolicyError, match="100 paths leave less than one in the tail"):
        mm.margin(book_of([("x", "PERP", 1)], ITEMS, [("x", "a0", 1)]), EVEN, policy=policy)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (0.0, "row 2, column 'entry_price': 0 is no price above 0"),
        (-1.0, "row 2, column 'entry_price': -1 is no price above 0"),
        (np.inf, "row 2, column 'entry_price': inf is no price above 0"),
        ("dear", "row 2, column 'entry_price': 'dear' is not a number"),
    ],
)
def test_bad_entry_prices(price, message):
    rows = positions_of([("x", "PERP", 1, price)])
    with pytest.raises(mm.DataError, match=message):
        book_of(rows, ITEMS)
    with pytest.raises(mm.DataError, match=r"orders: columns .* exactly account"):
        book_of(rows.iloc[:, :3], ITEMS, orders=rows)


def test_files_of_balances_and_entry_prices(tmp_path):
    (tmp_path / "p.csv").write_text(
        "account,instrument,quantity,entry_price\nx,PERP,1,90\ny,PERP,-2,\n"
    )
    (tmp_path / "b.csv").write_text("account,asset,amount\nx,a0,1.5\nx,USD,-3\n")
    paths = [tmp_path / "p.csv", tmp_path / "b.csv"]
    for path in paths:
        pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
    expected = book_of(pd.read_csv(paths[0]), ITEMS, pd.read_csv(paths[1]))
    for end in (".csv", ".parquet"):
        positions, balances = (path.with_suffix(end) for path in paths)
        book = mm.read_positions(positions, instruments=ITEMS, balances=balances)
        assert book.fingerprint() == expected.fingerprint()
    np.testing.assert_array_equal(book.entry_prices, [90.0, np.nan])
    np.testing.assert_array_equal(book.balances.toarray(), [[-3.0, 1.5], [0.0, 0.0]])
    for bad, message in (
        ("x,PERP,1,0\n", r"p\.csv: row 2, column 'entry_price': must be above 0, not '0'"),
        ("x,PERP,1,nan\n", r"p\.csv: row 2, column 'entry_price': nan is not finite"),
    ):
        paths[0].write_text(f"account,instrument,quantity,entry_price\n{bad}")
        with pytest.raises(mm.DataError, match=message):
            mm.read_positions(paths[0], instruments=ITEMS)
    paths[1].write_text("account,asset,amount\nx,a0,inf\n")
    with pytest.raises(mm.DataError, match=r"b\.csv: row 2, column 'amount': inf is not finite"):
        mm.read_positions(tmp_path / "p.parquet", instruments=ITEMS, balances=paths[1])


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
