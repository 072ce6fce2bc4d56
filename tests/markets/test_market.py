"""Markets: what contradicts itself is refused."""

import pytest

import mcmargin as mm
from tests.helpers.euro_market import market_of


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"fx": {"a0": 1.0}}, "'a0' stands in spot and in fx"),
        ({"quoted": {"a1": "EUR"}}, "'a1' quoted in 'EUR'"),
        (
            {"quoted": {"a1": "EUR"}, "fx": {"EUR": 1.2}, "fx_asset": {"EUR": "a1"}},
            "the rate of 'EUR' is asset 'a1', which is quoted in 'EUR'",
        ),
        ({"quoted": {"b": "USD"}}, "'b' quoted in 'USD': the asset belongs in spot"),
        ({"depeg": {"USD": mm.Depeg(0.1, 0.1)}}, "depeg of 'USD'"),
        ({"coins": ("doge",)}, "the coin 'doge' has no price"),
    ],
)
def test_a_market_that_contradicts_itself(terms, message):
    with pytest.raises(mm.DataError, match=message):
        market_of(**terms)


def test_a_coin_that_loses_all_its_value_leaves_no_rate():
    with pytest.raises(mm.DataError, match="a loss of 1 leaves no rate"):
        mm.Depeg(0.1, 1.0)
