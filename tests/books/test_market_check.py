"""A market that does not fit the model or the policy is refused."""

import numpy as np
import pytest

import mcmargin as mm
from tests.helpers.books import book_of
from tests.helpers.euro_market import AS_OF, market_of
from tests.helpers.models import scenarios_of_three


@pytest.fixture(scope="module")
def scenarios():
    return scenarios_of_three(horizons=(1, 2, 5))


def test_a_model_newer_or_older_than_the_policy_allows_is_refused(scenarios):
    book = book_of([("x", "S", 1.0)], [mm.Spot("S", "a0")])
    policy = mm.MarginPolicy(max_age_days=1)
    for days, words in ((2, "older than the market.*update the model"), (-2, "newer than")):
        market = market_of(AS_OF + np.timedelta64(days, "D"))
        with pytest.raises(mm.DataError, match=words):
            mm.margin(book, scenarios, market, policy)
