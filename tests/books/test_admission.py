"""A book that its model and market cannot value is refused."""

import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Collateral
from tests.helpers.books import book_of
from tests.helpers.coin_book import AS_OF, ITEMS
from tests.helpers.models import scenarios_of_three


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three()


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
