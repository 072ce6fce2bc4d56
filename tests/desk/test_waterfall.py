"""Attribution of a change between two reports: each part against margins run by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.desk import waterfall
from mcmargin.models.dependence import make_dependence
from mcmargin.models.history import History
from mcmargin.policies.policy_parts import Collateral, Maintenance, Procyclicality
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.reports.margin_change import CHANGE_PARTS
from tests.helpers.books import book_of
from tests.helpers.models import make_model

DAY = np.timedelta64(1, "D")
ITEMS = [
    mm.Perpetual("PERP", "a0", basis_volatility=0.0),
    mm.Spot("S", "a1"),
    mm.Option("C", "a0", "call", 105.0, "2020-02-01"),
]
ROWS = [("x", "PERP", 3.0), ("x", "C", -2.0), ("y", "S", 4.0), ("y", "PERP", -1.0)]
POSTED = [("x", "a1", 2.0), ("y", "USD", 50.0)]
POLICY = mm.MarginPolicy(horizon=2, maintenance=Maintenance(level=0.95))
MODEL = make_model(("gjr", "garch"), "t", "t", variance=4e-4)


BEFORE = mm.Plausibility(market_before_days=3)


def market_of(as_of=MODEL.as_of, spot=100.0, volatility=0.5, **terms):
    spots = {"a0": spot, "a1": 50.0}
    return mm.Market(as_of=as_of, spot=spots, volatility={"a0": volatility}, **terms)


def report_of(model=MODEL, book=None, market=None, policy=POLICY, horizons=(1, 2), **options):
    scenarios = mm.simulate(model, horizons=horizons, paths=2000, seed=7, policy=policy)
    market = market_of(model.as_of) if market is None else market
    return mm.margin(
        book_of(ROWS, ITEMS, POSTED) if book is None else book, scenarios, market, policy, **options
    )


def moved(model=MODEL, days=1, variance=None, assets=None):
    """The model some days on, at other variances."""
    time = model.as_of + days * DAY
    state = replace(
        model.state,
        as_of=time,
        variance=model.state.variance if variance is None else np.array(variance),
    )
    return replace(model, committed=state, state=state)


FIRST = report_of()


def unrounded(report):
    return report.figures["unrounded"].to_numpy()


def only(part, report, first=FIRST):
    """The change, all of it in one part."""
    frame = mm.attribute(first, report).frame
    change = unrounded(report) - unrounded(first)
    assert (np.abs(change) > 1e-3).any()
    np.testing.assert_allclose(frame[part], change, rtol=1e-12)
    assert not frame[[name for name in CHANGE_PARTS if name != part]].to_numpy().any()


def test_equal_reports_have_no_change():
    frame = mm.attribute(FIRST, report_of()).frame
    assert frame.columns.tolist() == ["account", "currency", "before", *CHANGE_PARTS, "after"]
    assert not frame[list(CHANGE_PARTS)].to_numpy().any()
    np.testing.assert_array_equal(frame["before"], unrounded(FIRST))
    np.testing.assert_array_equal(frame["after"], unrounded(FIRST))


def test_what_changes_alone_has_all_of_the_change():
    """One thing changes, and all of the change is its."""
    only("market", report_of(market=market_of(spot=110.0, volatility=0.7)))
    state = replace(MODEL.state, variance=np.array([9e-4, 2e-4]))
    only("volatility", report_of(replace(MODEL, state=state)))
    fatter = make_model(("gjr", "garch"), "t", "t", variance=4e-4, nu=3.0)
    only("parameters", report_of(fatter))
    other = make_dependence("t", np.array([[1.0, 0.9], [0.9, 1.0]]), nu=5.0)
    only("parameters", report_of(replace(MODEL, dependence=other)))
    only("data", report_of(moved()))
    only("policy", report_of(policy=mm.MarginPolicy(level=0.98, horizon=2)))
    only("policy", report_of(policy=replace(POLICY, collateral=Collateral("haircut"))))
    rows = [("x", "PERP", 5.0), ("y", "S", 4.0), ("y", "C", 1.0)]
    only("positions", report_of(book=book_of(rows, ITEMS, POSTED)))
    only("positions", report_of(book=book_of(ROWS, ITEMS, [("x", "a0", 2.0), ("y", "USD", 1.0)])))


def test_every_part_is_the_difference_of_two_margin_runs():
    """All changes at once, against reports of books, markets and models put together here."""
    later = make_model(("gjr", "garch"), "t", "t", variance=4e-4, nu=4.0)
    later = moved(later, days=3, variance=[9e-4, 3e-4])
    rows = [("x", "PERP", 4.0), ("x", "C", -1.0), ("y", "S", 4.0), ("y", "C", 1.0), ("z", "S", 1.0)]
    posted = [("x", "a1", 3.0), ("y", "a0", 1.0)]
    policy = replace(POLICY, level=0.98)
    market = market_of(later.as_of, spot=110.0, volatility=0.7)
    last = report_of(later, book_of(rows, ITEMS, posted), market, policy)
    # Closed: y's perpetual and y's dollars. Left, at the quantities that they had:
    left = book_of(
        [("x", "PERP", 3.0), ("x", "C", -2.0), ("y", "S", 4.0)], ITEMS, [("x", "a1", 2.0)]
    )
    then = replace(market, as_of=MODEL.as_of)
    at_variances = replace(MODEL, state=replace(MODEL.state, variance=later.state.variance))
    earlier = replace(
        later,
        committed=replace(later.committed, as_of=MODEL.as_of),
        state=replace(later.state, as_of=MODEL.as_of),
    )
    steps = [
        report_of(MODEL, left),
        report_of(MODEL, left, then),
        report_of(at_variances, left, then),
        report_of(earlier, left, then),
        report_of(later, left, market),
        report_of(later, left, market, policy),
    ]
    margins = [unrounded(FIRST), *map(unrounded, steps)]
    moves = np.diff(margins, axis=0)
    frame = mm.attribute(FIRST, last).frame
    assert frame["account"].tolist() == ["x", "y", "z"]
    for part, move in zip(CHANGE_PARTS[1:], moves[1:], strict=True):
        np.testing.assert_allclose(frame[part][:2], move, rtol=1e-9, atol=1e-10, err_msg=part)
        assert abs(move[0]) > 1e-3
    opened = unrounded(last)[:2] - margins[-1]
    np.testing.assert_allclose(frame["positions"][:2], moves[0] + opened, rtol=1e-9)
    assert frame.iloc[2][list(CHANGE_PARTS)].tolist() == [unrounded(last)[2], 0, 0, 0, 0, 0]
    total = frame["before"] + frame[list(CHANGE_PARTS)].sum(axis=1)
    np.testing.assert_allclose(total, frame["after"], rtol=0, atol=1e-12 * 300)


def test_it_takes_few_margin_runs(monkeypatch):
    """None where one thing moved; one a step where all did, but the last, which is the report."""
    runs = []
    monkeypatch.setattr(waterfall, "margin", lambda *a, **k: runs.append(1) or mm.margin(*a, **k))
    mm.attribute(FIRST, report_of())
    assert len(runs) == 0
    mm.attribute(FIRST, report_of(market=market_of(spot=110.0)))
    assert len(runs) == 0
    mm.attribute(FIRST, report_of(moved(variance=[9e-4, 3e-4]), market=market_of(
        MODEL.as_of + DAY, 110.0)))  # fmt: skip
    assert len(runs) == 2
    runs.clear()
    later = moved(make_model(("gjr", "garch"), "t", "t", nu=4.0))
    policy = replace(POLICY, level=0.98)
    book = book_of([*ROWS[1:], ("z", "S", 1.0)], ITEMS, POSTED)
    mm.attribute(FIRST, report_of(later, book, market_of(later.as_of, 90.0), policy))
    assert len(runs) == 6


changes = st.fixed_dictionaries({
    "spot": st.sampled_from([100.0, 80.0, 130.0]),
    "volatility": st.sampled_from([0.5, 0.9]),
    "days": st.sampled_from([0, 1, 7]),
    "variance": st.sampled_from([None, [9e-4, 9e-5]]),
    "nu": st.sampled_from([5.0, 3.5]),
    "kept": st.sets(st.integers(0, 3)),
    "scale": st.sampled_from([1.0, -2.0]),
    "posted": st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["a0", "a1", "USD"]),
                                 st.floats(0, 5)), max_size=4, unique_by=lambda row: row[:2]),
    "level": st.sampled_from([0.99, 0.98]),
})  # fmt: skip


@given(changes)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_parts_add_up(change):
    """To 1e-12 of gross exposure and collateral of either date, and what vanishes ends at 0."""
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4, nu=change["nu"])
    model = moved(model, days=change["days"], variance=change["variance"])
    rows = [(*ROWS[at][:2], change["scale"] * ROWS[at][2]) for at in sorted(change["kept"])]
    accounts = [mm.Account(name) for name in "wxyz"]
    book = book_of([*rows, ("w", "S", 1.0)], ITEMS, change["posted"], accounts=accounts)
    market = market_of(model.as_of, change["spot"], change["volatility"])
    last = report_of(model, book, market, replace(POLICY, level=change["level"]))
    frame = mm.attribute(FIRST, last).frame.set_index("account")
    apart = frame["before"] + frame[list(CHANGE_PARTS)].sum(axis=1) - frame["after"]
    gross = 100.0 + sum(
        report.figures.set_index("account")[["gross_exposure", "collateral"]].sum(axis=1)
        .reindex(frame.index, fill_value=0.0) for report in (FIRST, last)
    )  # fmt: skip
    assert (apart.abs() <= 1e-12 * gross).all()
    ends = last.figures.set_index("account")["unrounded"].reindex(frame.index, fill_value=0.0)
    np.testing.assert_array_equal(frame["after"], ends)


def test_what_expires_is_closed_on_the_first_date():
    """The option of 1 February is gone by the 3rd; one of March, and a new name, are opened."""
    later = moved(days=33)
    items = [*ITEMS[:2], mm.Option("C", "a0", "call", 105.0, "2020-03-01")]
    last = report_of(later, book_of(ROWS, items, POSTED), market_of(later.as_of))
    frame = mm.attribute(FIRST, last).frame.set_index("account")
    left = report_of(book=book_of([row for row in ROWS if row[1] != "C"], ITEMS, POSTED))
    closed = unrounded(left) - unrounded(FIRST)
    there = report_of(later, book_of([row for row in ROWS if row[1] != "C"], ITEMS, POSTED))
    opened = unrounded(last) - unrounded(there)
    np.testing.assert_allclose(frame["positions"], closed + opened, rtol=1e-9, atol=1e-10)
    assert frame.loc["y", "positions"] == 0.0


def test_books_with_nothing_in_common():
    last = report_of(moved(), book_of([("z", "S", 1.0)], ITEMS, []))
    frame = mm.attribute(FIRST, last).frame.set_index("account")
    assert frame.loc["z", "positions"] == frame.loc["z", "after"] == unrounded(last)[0]
    np.testing.assert_array_equal(frame.loc[["x", "y"], "positions"], -unrounded(FIRST))
    assert not frame[list(CHANGE_PARTS[1:])].to_numpy().any()


def test_models_of_other_assets():
    """An asset that is appended, and one that the first model alone has."""
    three = make_model(("gjr", "garch", "ewma"), "t", "t", variance=4e-4)
    one = make_model(("gjr",), "t", "t", variance=4e-4)
    rows = [("x", "PERP", 3.0)]
    grown = mm.attribute(FIRST, report_of(moved(three)))
    shrunk = mm.attribute(
        report_of(book=book_of(rows, ITEMS, [])), report_of(one, book_of(rows, ITEMS, []))
    )
    for frame in (grown.frame, shrunk.frame):
        total = frame["before"] + frame[list(CHANGE_PARTS)].sum(axis=1)
        np.testing.assert_allclose(total, frame["after"], atol=1e-10)


def test_horizons_that_settlements_add_are_no_change():
    """The second plan has bar 1 no more, and the policies name no horizon."""
    free = mm.MarginPolicy()
    first = report_of(policy=free)
    frame = mm.attribute(first, report_of(policy=free, horizons=(2,))).frame
    assert not frame[list(CHANGE_PARTS)].to_numpy().any()
    longer = mm.attribute(first, report_of(policy=free, horizons=(1, 2, 5))).frame
    assert (longer["policy"] > 0).all()


def test_the_buffer_follows_the_last_report():
    """A rise of variance that the buffer covers: a quarter is charged on top of it, and taken back
    where the second report follows the first, since it charges what that did."""
    history = History(
        MODEL.as_of - np.arange(9, -1, -1) * DAY, np.full((10, 2), 0.02), np.full((10, 2), 4e-4)
    )
    model = replace(MODEL, history=history)
    policy = replace(POLICY, procyclicality=Procyclicality(buffer=0.25, floor_years=1.0))
    first = report_of(model, policy=policy)
    later = moved(model, variance=[4.4e-4, 4.4e-4])
    last = report_of(later, policy=policy, previous=first)
    assert last.session.previous.session is None
    frame = mm.attribute(first, last).frame
    assert (frame["volatility"] > 0).all()
    assert (frame["data"] < 0).all()
    total = frame["before"] + frame[list(CHANGE_PARTS)].sum(axis=1)
    np.testing.assert_allclose(total, frame["after"], atol=1e-10)


LIMITED = replace(
    POLICY,
    maintenance=None,
    procyclicality=Procyclicality(speed_limit=0.1),
    stress=Stress(gaps=(Gap("a0", -0.9),), scenario_weight=1.0, dependence_weight=0.0),
)


def with_closes(model, days):
    """The model with a history of closes, one a day, up to its own."""
    times = model.as_of - np.arange(days - 1, -1, -1) * DAY
    history = History(times, np.full((days, 2), 0.02), np.full((days, 2), 4e-4))
    return replace(model, history=history)


def test_reports_that_differ_by_what_they_follow_alone():
    """Each a tenth above the last: the change is what the last charge allowed, and no more."""
    rows = [("x", "PERP", 10.0)]
    model, reports = with_closes(MODEL, 10), []
    small = report_of(model, book=book_of([("x", "PERP", 2.0)], ITEMS, []), policy=LIMITED)
    for day in (1, 2, 3):
        later = replace(
            moved(model, days=day), history=with_closes(moved(model, days=day), 10 + day).history
        )
        last = reports[-1] if reports else small
        reports.append(
            report_of(later, book=book_of(rows, ITEMS, []), policy=LIMITED, previous=last,
                      market=market_of(MODEL.as_of, plausibility=BEFORE))
        )  # fmt: skip
    charges = [unrounded(small)[0], *(unrounded(each)[0] for each in reports)]
    np.testing.assert_allclose(np.diff(np.log(charges)), np.log(1.1), rtol=1e-9)
    frame = mm.attribute(*reports[1:]).frame
    assert frame[["before", "after"]].to_numpy()[0].tolist() == charges[2:]
    assert frame["data"][0] == pytest.approx(charges[3] - charges[2])


def test_no_bar_no_rise():
    """Margins taken again within a bar do not add up to a way around the limit."""
    model = with_closes(MODEL, 10)
    small = report_of(model, book=book_of([("x", "PERP", 2.0)], ITEMS, []), policy=LIMITED)
    book = book_of([("x", "PERP", 3.0)], ITEMS, [])
    again = report_of(model, book=book, policy=LIMITED, previous=small)
    once_more = report_of(model, book=book, policy=LIMITED, previous=again)
    assert unrounded(small) == unrounded(again) == unrounded(once_more)


def test_the_last_charge_of_an_account_that_changed_its_currency():
    """As much money at today's rate as it was: the buffer stands as it stood."""
    policy = replace(POLICY, procyclicality=Procyclicality(buffer=0.5))
    market = market_of(fx={"JPY": 0.01}, fx_volatility={"JPY": 0.0})
    dollars, yen = (
        book_of([("x", "PERP", size)], ITEMS, [], accounts=[mm.Account("x", code)])
        for size, code in ((1.2, "USD"), (1.0, "JPY"))
    )
    first = report_of(book=dollars, market=market, policy=policy)
    after = report_of(book=yen, market=market, policy=policy, previous=first)
    fresh = report_of(book=yen, market=market, policy=policy)
    # 1.2 covers the calm charge of 1, and its own buffer is drawn to 1.5 x 1.
    assert unrounded(after)[0] == pytest.approx(unrounded(fresh)[0])
    drawn = report_of(
        book=book_of([("x", "PERP", 1.4)], ITEMS, [], accounts=[mm.Account("x", "JPY")]),
        market=market, policy=policy, previous=first,
    )  # fmt: skip
    assert unrounded(drawn)[0] == pytest.approx(100 * unrounded(first)[0], rel=1e-12)


@pytest.mark.parametrize(
    ("previous", "report", "message"),
    [
        (
            lambda: mm.MarginReport.from_json(FIRST.to_json()),
            lambda: FIRST,
            "the report of 2020-01-01T00:00:00 cannot be .* its model .* its book",
        ),
        (
            lambda: FIRST,
            lambda: mm.MarginReport.from_json(FIRST.to_json()),
            "the report of 2020-01-01T00:00:00 cannot be .* its model .* its book",
        ),
        (lambda: report_of(moved()), lambda: FIRST, "2020-01-02.*, after this one's 2020-01-01"),
        (
            lambda: FIRST,
            lambda: mm.margin(
                book_of(ROWS, ITEMS, POSTED),
                mm.simulate(MODEL, horizon=2, paths=3000, seed=7),
                market_of(),
                POLICY,
            ),
            "paths was 2000 and is 3000",
        ),
        (
            lambda: FIRST,
            lambda: report_of(
                market=market_of(fx={"EUR": 1.2}, fx_volatility={"EUR": 0.1}),
                book=book_of(
                    ROWS, ITEMS, POSTED, accounts=[mm.Account("x", "EUR"), mm.Account("y")]
                ),
            ),
            "account 'x' was in USD and is in EUR",
        ),
        (
            lambda: report_of(make_model(("constant", "garch"), "t", "t"),
                              market=market_of(vol_of_vol={"a0": 0.5})),
            lambda: report_of(),
            "the step of market cannot be margined: .*vol_of_vol",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_attributed(previous, report, message):
    with pytest.raises(mm.DataError, match=message):
        mm.attribute(previous(), report())
