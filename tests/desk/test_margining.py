"""Margins of books: contributions, row order, markets, and books that cannot be margined."""

import json

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.margins import figures
from mcmargin.markets.model_prices import market_of_model
from mcmargin.policies.policy_parts import Maintenance, Procyclicality
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

ROWS = [("x", "a0", 3.0), ("x", "a1", -2.0), ("y", "a2", 5.5), ("x", "a2", 0.25), ("z", "a1", -1.0)]


@pytest.fixture(scope="module")
def scenarios():
    model = make_model(("garch", "gjr", "egarch"), innovations="skewt", dependence="t")
    return mm.simulate(model, horizons=(1, 2), paths=20_000, seed=7)


def test_contributions_add_up(scenarios):
    for account in mm.margin(book_of(ROWS), scenarios).accounts:
        total = sum(position.contribution for position in account.contributions)
        assert abs(total - account.expected_shortfall) <= 1e-12 * account.gross_exposure


def test_row_order_changes_nothing(scenarios):
    ahead, back = (mm.margin(book_of(rows), scenarios) for rows in (ROWS, ROWS[::-1]))
    assert ahead.accounts == back.accounts
    assert ahead.fingerprints == back.fingerprints


def test_a_margin_is_the_shortfall_of_the_hand_made_loss(scenarios):
    account = mm.margin(book_of(ROWS), scenarios, policy=mm.MarginPolicy(level=0.98)).accounts[0]
    moves = scenarios.returns[1].astype(float)
    loss = -100.0 * (3.0 * moves[0] - 2.0 * moves[1] + 0.25 * moves[2])
    expected = np.sort(loss)[::-1][:400].mean()
    assert account.margin == pytest.approx(expected, rel=1e-12)
    assert account.gross_exposure == 525.0
    assert account.net_exposure == 125.0


def test_a_plan_of_numpy_integers_is_filed_as_plain_ones():
    whole = np.int64
    model = make_model(("garch", "gjr", "egarch"))
    scenarios = mm.simulate(model, horizons=(whole(1), whole(2)), paths=whole(3000), seed=whole(7))
    plain = mm.simulate(model, horizons=(1, 2), paths=3000, seed=7)
    filed, expected = (mm.margin(book_of(ROWS), s).to_json() for s in (scenarios, plain))
    assert filed == expected


def test_a_market_overrides_the_models_prices(scenarios):
    rows = [("x", "a0", 1.0)]
    base = mm.margin(book_of(rows), scenarios).accounts[0].margin
    market = mm.Market(as_of=scenarios.as_of, spot={"a0": 150.0})
    # 50 % is not more than the limit of plausibility; half as much again is exact in binary.
    assert mm.margin(book_of(rows), scenarios, market).accounts[0].margin == 1.5 * base


def test_report_to_json_and_back_is_exact(scenarios):
    report = mm.margin(book_of(ROWS), scenarios)
    again = mm.MarginReport.from_json(report.to_json())
    assert again.accounts == report.accounts
    assert again.to_json() == report.to_json()
    assert list(report.to_frame()["account"]) == ["x", "y", "z"]
    assert "20,000 paths" in str(report)
    for text in ("", "{}", "[]", report.to_json()[:-20], '{"schema": "mcmargin.report/1"}'):
        with pytest.raises(mm.ModelFileError):
            mm.MarginReport.from_json(text)


def test_a_short_positions_margin_is_stable_from_seed_to_seed():
    """Power-law innovations: with simple returns each seed is within 4 errors of the mean."""
    model = make_model(("garch",), innovations="t", dependence="t", variance=4e-3)
    shorts = [
        mm.margin(
            book_of([("x", "a0", -1.0)]), mm.simulate(model, horizon=2, paths=20_000, seed=seed)
        ).accounts[0]
        for seed in range(8)
    ]
    figures = np.array([short.margin for short in shorts])
    errors = np.array([short.expected_shortfall_error for short in shorts])
    assert (np.abs(figures - figures.mean()) < 4 * errors).all()


@pytest.mark.parametrize(
    ("rows", "options", "error", "match"),
    [
        ([("x", "eth", 1.0)], {}, mm.DataError, "'x'.*no asset 'eth'"),
        ([("x", "a0", np.inf)], {}, mm.DataError, "row 2.*finite"),
        ([("x", "a0", np.nan)], {}, mm.DataError, "row 2.*finite"),
        ([("x", "a0", 1.0), ("x", "a0", 2.0)], {}, mm.DataError, "row 3 repeats"),
        ([("x", "a0", "many")], {}, mm.DataError, "row 2.*'many' is not a number"),
        ([("x", "a0", 1.0)], {"instruments": []}, mm.DataError, "'a0' is unknown"),
        ([("", "a0", 1.0)], {}, mm.DataError, "column 'account': empty"),
        ([], {}, mm.DataError, "no positions"),
        (
            [("x", "s", 1.0)],
            {"instruments": [mm.Spot("s", "a0", "EUR")]},
            mm.DataError,
            "no rate of currency 'EUR' in USD",
        ),
    ],
)
def test_books_that_cannot_be_margined(scenarios, rows, options, error, match):
    with pytest.raises(error, match=match):
        mm.margin(book_of(rows, **options), scenarios)


def test_policies_that_the_scenarios_cannot_serve(scenarios):
    book = book_of(ROWS)
    with pytest.raises(mm.PolicyError, match=r"horizon 5.*\(1, 2\)"):
        mm.margin(book, scenarios, policy=mm.MarginPolicy(horizon=5))
    with pytest.raises(mm.PolicyError, match="at least 100000"):
        mm.margin(book, scenarios, policy=mm.MarginPolicy(level=0.99999))
    late = mm.Market(
        as_of=np.datetime64("2020-03-01", "ns"), spot=market_of_model(scenarios.model).spot
    )
    with pytest.raises(mm.DataError, match=r"60\.0 days older"):
        mm.margin(book, scenarios, late, mm.MarginPolicy(max_age_days=5))
    for wrong in ({"level": 0.5}, {"level": 1.0}, {"confidence": 0.0}, {"horizon": 0}):
        with pytest.raises(mm.PolicyError):
            mm.MarginPolicy(**wrong)


@pytest.mark.parametrize("figure", ["margin", "value_at_risk", "contribution"])
def test_verify_notices_any_altered_figure(figure):
    model, book = make_model(("garch", "gjr", "egarch")), book_of(ROWS)
    report = mm.margin(book, mm.simulate(model, horizon=2, paths=3000, seed=7))
    assert mm.verify(report, model, book).verdict == "equal"
    fields = json.loads(report.to_json())
    account = fields["accounts"][1]
    target = account["contributions"][0] if figure == "contribution" else account
    target[figure] *= 1.01
    forged = mm.MarginReport.from_json(json.dumps(fields))
    assert mm.verify(forged, model, book).verdict == "different"
    other = make_model(("garch", "gjr", "egarch"), variance=2e-4)
    assert "the model's fingerprint differs" in mm.verify(report, other, book).reasons


def test_an_account_of_zero_positions_has_no_margin(scenarios):
    for rows in ([("flat", "a0", 0.0)], [("flat", "a0", 0.0), ("x", "a0", 1.0)]):
        flat = mm.margin(book_of(rows), scenarios).accounts[0]
        assert (flat.account, flat.margin, flat.contributions) == ("flat", 0.0, ())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        (mm.MarginPolicy(), 1),
        (mm.MarginPolicy(maintenance=Maintenance(level=0.95, horizon=1)), 2),
        (
            mm.MarginPolicy(
                procyclicality=Procyclicality(floor_years=1.0),
                stress=Stress(dependence_weight=0.25),
            ),
            3,
        ),
        (
            mm.MarginPolicy(
                maintenance=Maintenance(level=0.95, horizon=1),
                procyclicality=Procyclicality(floor_years=1.0, stressed_weight=0.25),
                stress=Stress(
                    gaps=(Gap("a0", -0.3),), scenario_weight=0.25, dependence_weight=0.25
                ),
            ),
            6,
        ),
    ],
)
def test_progress_counts_every_pass(monkeypatch, policy, passes, threads):
    """Base, floor and stress tests, of both margins: 40 accounts and an owner each time, in blocks
    of 4, of which the stress tests have but the accounts in two underlyings."""
    monkeypatch.setattr(figures, "BLOCK_BYTES", 4 * 8 * 1000)
    model = make_model(("garch", "garch"))
    model = with_history(model, np.full((30, 2), 0.01), np.full((30, 2), 1e-4))
    scenarios = mm.simulate(model, horizons=(1, 2), paths=1000, seed=1, policy=policy)
    rows = [(f"x{at}", "a0", 1.0) for at in range(40)]
    rows += [(f"x{at}", name, 2.0) for at in range(20) for name in ("a1", "P")]
    accounts = [
        mm.Account("x0", owner="o", netting="net"),
        mm.Account("x1", owner="o", netting="net"),
    ]
    accounts += [mm.Account(f"x{at}") for at in range(2, 40)]
    items = [mm.Spot("a0", "a0"), mm.Spot("a1", "a1"), mm.Perpetual("P", "a1")]
    book = book_of(rows, items, accounts=accounts)
    seen = []
    report = mm.margin(
        book, scenarios, policy=policy, threads=threads, progress=lambda *told: seen.append(told)
    )
    done, total = np.array(seen).T
    assert set(total.tolist()) == {41 * passes}
    assert (np.diff(done) > 0).all()
    assert done[-1] == 41 * passes
    assert len(done) >= 5 * passes
    # Nobody is told of what is asked of the report later.
    report.attribution()
    report.what_if("x0", {"a0": 1.0})
    assert len(seen) == len(done)
