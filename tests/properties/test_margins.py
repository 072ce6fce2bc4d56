"""Properties that every book's margins must have, on books drawn at random.

Bounds are 1e-12 of gross exposure: a figure adds up at most a few dozen float64 products, none
larger than it.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.models import make_model

RISKY = ("a0", "a1", "a2", "a3")
BOUND = 1e-12

quantities = st.floats(-1e4, 1e4, allow_subnormal=False)
holdings = st.dictionaries(st.sampled_from(RISKY), quantities, min_size=1)
books = st.dictionaries(
    st.tuples(st.sampled_from("wxyz"), st.sampled_from(RISKY)), quantities, min_size=1
)
properties = settings(max_examples=150, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def scenarios():
    """Four assets, and cash: an asset that earns 1 % on every path."""
    model = make_model(("garch", "gjr", "egarch", "ewma"), innovations="skewt", dependence="t")
    drawn = mm.simulate(model, horizon=2, paths=3000, seed=7)
    cash = np.full((1, 1, 3000), 0.01, np.float32)
    prices, variance = np.append(model.state.prices, 100.0), np.append(model.state.variance, 1e-4)
    state = replace(model.state, prices=prices, variance=variance)
    return replace(
        drawn,
        model=replace(model, assets=(*RISKY, "cash"), committed=state, state=state),
        returns=np.concatenate([drawn.returns, cash], axis=1),
    )


def account_of(held, scenarios, **options):
    """One account's figures, from quantities by instrument."""
    book = book_of([("x", name, units) for name, units in held.items()], **options)
    return mm.margin(book, scenarios).accounts[0]


@given(st.data(), books)
@properties
def test_the_order_of_rows_changes_nothing(scenarios, data, held):
    rows = [(*pair, units) for pair, units in held.items()]
    shuffled = data.draw(st.permutations(rows))
    one, other = book_of(rows), book_of(shuffled)
    assert one.accounts == other.accounts
    assert one.instruments == other.instruments
    assert one.fingerprint() == other.fingerprint()
    # JSON holds every figure exactly, and the fingerprints.
    assert mm.margin(one, scenarios).to_json() == mm.margin(other, scenarios).to_json()


@given(books, st.sampled_from([0.9, 0.975, 0.99]))
@properties
def test_contributions_add_up_and_es_is_not_below_var(scenarios, held, level):
    book = book_of([(*pair, units) for pair, units in held.items()])
    for account in mm.margin(book, scenarios, policy=mm.MarginPolicy(level=level)).accounts:
        shares = sum(position.contribution for position in account.contributions)
        assert abs(shares - account.expected_shortfall) <= BOUND * account.gross_exposure
        assert account.expected_shortfall >= account.value_at_risk
        assert account.margin == max(account.expected_shortfall, 0.0)


@given(holdings, quantities)
@properties
def test_a_sure_gain_lowers_a_margin_by_as_much(scenarios, held, cash):
    """A sure gain of `cash` dollars (100 each, earning 1 %) lowers both figures by as much."""
    before, after = (account_of(h, scenarios) for h in (held, {**held, "cash": cash}))
    gain = cash * 100.0 * float(np.float32(0.01))
    for figure in ("expected_shortfall", "value_at_risk"):
        moved = getattr(before, figure) - getattr(after, figure)
        assert abs(moved - gain) <= BOUND * after.gross_exposure


@given(holdings, st.floats(1e-3, 1e3))
@properties
def test_a_book_of_twice_the_size_has_twice_the_margin(scenarios, held, scale):
    one = account_of(held, scenarios)
    scaled = account_of({name: scale * units for name, units in held.items()}, scenarios)
    for figure in ("expected_shortfall", "value_at_risk", "margin", "gross_exposure"):
        gap = abs(getattr(scaled, figure) - scale * getattr(one, figure))
        assert gap <= BOUND * scale * one.gross_exposure


@given(holdings, holdings)
@properties
def test_two_books_together_need_no_more_than_apart(scenarios, one, other):
    together = {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}
    first, second, both = (account_of(held, scenarios) for held in (one, other, together))
    bound = BOUND * (first.gross_exposure + second.gross_exposure)
    for figure in ("expected_shortfall", "margin"):
        apart = getattr(first, figure) + getattr(second, figure)
        assert getattr(both, figure) <= apart + bound


@given(holdings)
@properties
def test_a_book_merged_with_itself_negated_needs_no_margin(scenarios, held):
    """Position by position it is flat; held through other instruments, flat within rounding."""
    flat = account_of({name: units - units for name, units in held.items()}, scenarios)
    assert (flat.margin, flat.gross_exposure) == (0.0, 0.0)
    instruments = [mm.Spot(name + end, name) for name in held for end in ("", " again")]
    hedged = {name + " again": -units for name, units in held.items()}
    account = account_of({**held, **hedged}, scenarios, instruments=instruments)
    assert account.gross_exposure == pytest.approx(200 * sum(map(abs, held.values())))
    assert abs(account.margin) <= BOUND * account.gross_exposure
    assert abs(account.expected_shortfall) <= BOUND * account.gross_exposure
