"""Resources to risk: cover 2 by hand."""

from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Resources
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.models import make_model

AS_OF = np.datetime64("2020-01-01", "ns")
ITEMS = [mm.Spot("S", "a0"), mm.Spot("T", "a1", "EUR")]
MARKET = mm.Market(
    as_of=AS_OF,
    spot={"a0": 100.0, "a1": 50.0},
    fx={"EUR": 1.2},
    fx_volatility={"EUR": 0.1},
    quoted={"a1": "EUR"},
)
ROWS = [
    *(("a", "S", 10.0), ("b", "S", -4.0), ("b2", "S", -1.0)),
    *(("c", "T", 20.0), ("d", "S", 1.0)),
]
ACCOUNTS = [
    *(mm.Account("a"), mm.Account("b", owner="b"), mm.Account("b2", owner="b")),
    *(mm.Account("c", "EUR"), mm.Account("d")),
]
POLICY = mm.MarginPolicy(
    stress=Stress(gaps=(Gap("a0", -0.3), Gap("a0", 0.4), Gap("a1", -0.5))),
    resources=Resources(target_ratio=1.25),
)


@pytest.fixture(scope="module")
def reports():
    """Margins put by hand: 120 for a, 30 + 10 for b, 200 euro for c, 35 for d."""
    scenarios = mm.simulate(make_model(("garch", "garch")), horizon=1, paths=1000, seed=1)
    book = book_of(ROWS, ITEMS, accounts=ACCOUNTS)
    report = mm.margin(book, scenarios, MARKET, POLICY)
    margins = {"a": 120.0, "b": 40.0, "c": 200.0, "d": 35.0}
    owners = report.owners.assign(margin=report.owners["owner"].map(margins))
    return replace(report, owners=owners), mm.stress(book, scenarios, MARKET, POLICY)


def test_cover_2_by_hand(reports):
    """Losses: a 0.3 x 1,000, b 0.4 x 500, c 0.5 x 1,000 euro, d 0.3 x 100; in dollars at 1.2:

    owner  margin  loss  excess
    a        120    300     180
    b         40    200     160
    c        240    600     360
    d         35     30       0

    Cover 2: c and a, fund 540; (240 + 120 + 540) / 900 = 1, short of 1.25 by 225.
    """
    found = mm.resources(*reports)
    frame = found.to_frame().set_index("owner")
    assert list(frame.index) == ["c", "a", "b", "d"]
    assert frame["margin"].tolist() == pytest.approx([240.0, 120.0, 40.0, 35.0])
    assert frame["loss"].tolist() == pytest.approx([600.0, 300.0, 200.0, 30.0])
    assert frame["excess"].tolist() == pytest.approx([360.0, 180.0, 160.0, 0.0])
    assert frame["covered"].tolist() == [True, True, False, False]
    assert (found.cover, found.currency) == (2, "USD")
    assert found.fund == pytest.approx(540.0)
    assert (found.margin, found.loss) == (pytest.approx(360.0), pytest.approx(900.0))
    assert found.ratio == pytest.approx(1.0)
    assert not found.met
    assert found.surplus == pytest.approx(-225.0)
    text = str(found)
    assert "Fund 540.00" in text
    assert "1.0000; target 1.2500 not met by 225.00" in text


def test_a_target_that_a_fund_of_its_size_meets(reports):
    own = replace(POLICY, resources=Resources(cover=1))
    found = mm.resources(*reports, own)
    assert found.fund == pytest.approx(360.0)
    assert found.met
    assert found.surplus == pytest.approx(0.0, abs=1e-9)


def test_margins_above_every_loss_need_no_fund(reports):
    """Margins of twice the losses: ratio 2, whoever is covered."""
    report, stress = reports
    losses = dict(zip(stress.owners["owner"], stress.owners["loss"], strict=True))
    double = report.owners["owner"].map(losses) * 2.0
    found = mm.resources(replace(report, owners=report.owners.assign(margin=double)), stress)
    assert found.fund == 0.0
    assert found.to_frame()["owner"][0] == "d"
    # The nearest to an excess are covered: d of 30, and b of 200.
    assert (found.ratio, found.surplus) == (pytest.approx(2.0), pytest.approx(460.0 - 1.25 * 230.0))
    assert found.met


def test_owners_who_lose_in_no_scenario(reports):
    report, stress = reports
    winning = replace(stress, owners=stress.owners.assign(loss=-stress.owners["loss"]))
    found = mm.resources(report, winning)
    assert (found.fund, found.loss, found.ratio) == (0.0, 0.0, float("inf"))
    assert found.met


def test_reports_that_do_not_belong_together(reports):
    report, stress = reports
    with pytest.raises(mm.PolicyError, match="declares no resources"):
        mm.resources(report, stress, mm.MarginPolicy())
    prints = report.fingerprints | {"market": "another"}
    with pytest.raises(mm.DataError, match="of different markets"):
        mm.resources(replace(report, fingerprints=prints), stress)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"target_ratio": 0.9}, "target_ratio must lie from 1 to 1000"),
        ({"cover": 0}, "cover must be an integer of 1 or more"),
        ({"cover": 1.5}, "cover must be an integer of 1 or more"),
    ],
)
def test_bad_resources_are_refused(terms, message):
    with pytest.raises(mm.PolicyError, match=message):
        Resources(**terms)
