"""Reports as text for a terminal, and as Parquet."""

import json
import math
import re
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

import mcmargin as mm
from mcmargin.data.typed_fields import read_dataclass, without_infinity
from mcmargin.markets.market_parts import Depeg, InstrumentLiquidity
from mcmargin.markets.market_terms import market_of, market_terms
from mcmargin.models.model import CalibrationNotes
from mcmargin.policies.policy_parts import Collateral, Leverage, Maintenance, Procyclicality
from mcmargin.policies.stress_parts import Gap, Stress, StressWindow
from mcmargin.reports.report_text import short_history
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

POLICY = mm.MarginPolicy(maintenance=Maintenance(level=0.9), collateral=Collateral("haircut"))


@pytest.fixture(scope="module")
def scenarios():
    return mm.simulate(make_model(("garch", "gjr")), horizon=2, paths=3000, seed=1)


def report_of(scenarios, rows, **options):
    policy = options.pop("policy", None)
    return mm.margin(book_of(rows, **options), scenarios, policy=policy)


@pytest.fixture(scope="module")
def owned(scenarios):
    """Two accounts of one owner and one of its own, with balances and maintenance margin."""
    balances = [("a [1]", "USD", 1000.0), ("b", "a0", 1.5), ("c", "USD", -20.0)]
    return report_of(
        scenarios,
        [("a [1]", "a0", 1.0), ("b", "a1", -2.0), ("c", "a1", 1.0)],
        policy=POLICY,
        balances=pd.DataFrame(balances, columns=["account", "asset", "amount"]),
        accounts=[
            mm.Account("a [1]", owner="fund"),
            mm.Account("b", owner="fund"),
            mm.Account("c"),
        ],
    )


TIERS = (mm.LeverageTier(1000.0, 10.0), mm.LeverageTier(math.inf, 4.0))
LIQUIDITY = {
    "a0": InstrumentLiquidity(daily_volume=5e4),
    "a1": InstrumentLiquidity(bids=((99.0, 5.0), (98.0, 9.0))),
    "P": InstrumentLiquidity(spread=0.001, bids=((99.0, 5.0),), asks=((101.0, 4.0),)),
    "Q": InstrumentLiquidity(),
}
PARTS = [
    *LIQUIDITY.values(),
    Depeg(probability=0.01, loss=0.5),
    POLICY,
    mm.MarginPolicy(
        horizons={"option": 5},
        leverage=Leverage(TIERS),
        stress=Stress(
            windows=(StressWindow("2008", "2008-09-01", "2009-03-31"),),
            grids={"*": "okx-other"},
            gaps=(Gap("a0", 0.4),),
            depegs={"EUR": 0.2},
        ),
    ),
    mm.SimulationPlan(
        seed=1, paths=100, horizons=(1, 2), precision="single", variance_cap=math.inf
    ),
    CalibrationNotes(2, "", "", {"a0": "fell back"}, 0.0),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_what_a_report_carries_is_read_from_values_as_from_json(part):
    """Values of this process have tuples where JSON has lists."""
    plain = without_infinity(asdict(part))
    for given in (asdict(part), plain, json.loads(json.dumps(plain))):
        assert read_dataclass(type(part), given, mm.DataError) == part


def test_a_market_is_the_same_from_values_and_from_json():
    market = mm.Market(
        as_of=np.datetime64("2020-01-01", "ns"),
        spot={"a0": 100.0, "a1": 90.0},
        fx={"EUR": 1.25},
        coins=("a0",),
        depeg={"EUR": Depeg(probability=0.01, loss=0.5)},
        liquidity=LIQUIDITY,
    )
    terms = market_terms(market)
    filed = json.loads(json.dumps(terms))
    assert filed == terms
    for given in (terms, filed):
        assert market_of(market.as_of, given).fingerprint() == market.fingerprint()


def rows_of(text, title):
    """Cells of a printed table, row by row, its head first."""
    block = text[text.index(title) :]
    lines = re.split(r"\n└", block)[0].splitlines()
    return [
        [cell.strip() for cell in re.split(r"[│┃]", line)[1:-1]]
        for line in lines
        if re.search(r"[│┃]", line)
    ]


def test_text_tells_equity_maintenance_and_owners(owned):
    text = str(owned)
    head, *rows = rows_of(text, "Margin at 99 % over 2 bars")
    assert head[:6] == ["account", "margin", "± error", "maintenance", "± error", "equity"]
    for row, figures in zip(rows, owned.figures.to_dict("records"), strict=True):
        assert row[0] == f"{figures['account']} (USD)"
        names = ("margin", "margin_error", "maintenance", "maintenance_error", "equity")
        assert row[1:6] == [f"{figures[n]:,.2f}" for n in names]
        assert row[-2] == f"{figures['margin'] / figures['gross_exposure']:.2%}"
        assert row[-1] == owned.status(figures["account"]).state
    assert rows[0][5] == "1,100.00"  # 1,000 in cash and one a0 at 100
    _, *owners = rows_of(text, "Owners")
    margins = dict(zip(owned.figures["account"], owned.figures["margin"], strict=True))
    together = margins["a [1]"] + margins["b"]
    assert [row[:4] for row in owners] == [
        ["c (USD)", "gross", "1", f"{margins['c']:,.2f}"],
        ["fund (USD)", "gross", "2", f"{together:,.2f}"],
    ]


def test_text_of_plain_accounts_has_no_column_of_nothing(scenarios):
    text = str(report_of(scenarios, [("x", "a0", 1.0)]))
    head, row = rows_of(text, "Margin at 99 %")
    names = ["margin", "± error", "VaR", "gross notional", "net delta", "margin / gross"]
    assert head == ["account", *names]
    assert row[4] == "100.00"
    assert "Owners" not in text
    assert "more" not in text


def test_text_of_many_accounts_lists_fifty(scenarios):
    """53 accounts of 52 owners: the first has two."""
    names = [f"account {at:02d}" for at in range(53)]
    accounts = [mm.Account(name, owner=f"owner {max(at, 1):02d}") for at, name in enumerate(names)]
    report = report_of(scenarios, [(name, "a0", 1.0) for name in names], accounts=accounts)
    text = str(report)
    listed = rows_of(text, "Margin at 99 %")[1:]
    assert [row[0] for row in listed] == [f"{name} (USD)" for name in names[:50]]
    assert len(rows_of(text, "Owners")[1:]) == 50
    assert "and 3 accounts more" in text
    assert "and 2 owners more" in text


def test_text_tells_five_fits_that_gave_way(scenarios):
    refused = {f"f{at}": f"ewma, t, as reason {at}" for at in range(7)}
    notes = CalibrationNotes(9, "500 dates", "updated by 3 bars", refused, 2.5)
    plain = report_of(scenarios, [("x", "a0", 1.0)])
    text = " ".join(str(replace(plain, calibration=notes)).split())
    assert "9 assets; 500 dates; updated by 3 bars." in text
    told = "; ".join(f"f{at}: ewma, t, as reason {at}" for at in range(5))
    assert f"Fits that were replaced: {told}; and 2 more." in text
    assert "Fits that were replaced" not in str(plain)


def test_a_floor_says_what_history_it_rests_on():
    """300 daily bars are 0.82 years; told in the text and on the page, and of a file's report too.
    Ten years less a weekend are ten."""
    days = np.zeros((300, 2)) + 0.01
    model = with_history(make_model(("garch", "gjr")), days, np.full(days.shape, 1e-4))

    def report(years):
        policy = mm.MarginPolicy(procyclicality=Procyclicality(floor_years=years))
        seen = mm.simulate(model, horizon=2, paths=1000, seed=1, policy=policy)
        return report_of(seen, [("x", "a0", 1.0)], policy=policy)

    told = "The floor of 10 years rests on the 0.82 years that the model has"
    ten = report(10.0)
    for each in (ten, mm.MarginReport.from_json(ten.to_json())):
        assert each.calibration.history_years == 299 / 365
        assert f"{told}." in str(each).splitlines()
        assert f"<p>{told}.</p>" in each._repr_html_()
        assert f"<li>{told}.</li>" in each.to_html()
    half = report(0.5)
    assert "rests on" not in str(half) + half.to_html()
    for years, text in ((10 - 3 / 365, ""), (9.7, told.replace("0.82", "9.7")), (10.5, "")):
        notes = replace(ten.calibration, history_years=years)
        assert short_history(replace(ten, calibration=notes)) == text


def test_parquet_holds_every_figure_and_the_audit_trail(owned, tmp_path):
    paths = owned.to_parquet(tmp_path / "margins.parquet")
    assert [path.name for path in paths] == [
        f"margins{name}.parquet" for name in ("", ".positions", ".owners")
    ]
    trail = json.loads(owned.to_json())
    del trail["accounts"], trail["owners"]
    for path, table in zip(paths, (owned.figures, owned.positions, owned.owners), strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(path), table)
        assert json.loads(parquet.read_schema(path).metadata[b"mcmargin"]) == trail
    assert len(trail["haircuts"]) == len(owned.haircuts) > 0


def test_parquet_of_a_cap_without_a_bound_is_plain_json(scenarios, tmp_path):
    free = mm.simulate(scenarios.model, horizon=2, paths=3000, seed=1, variance_cap=float("inf"))
    target, *_ = report_of(free, [("x", "a0", 1.0)]).to_parquet(tmp_path / "m.parquet")
    text = parquet.read_schema(target).metadata[b"mcmargin"].decode()

    def refused(constant):
        pytest.fail(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refused)["plan"]["paths"] == 3000


def test_parquet_of_accounts_without_positions(scenarios, tmp_path):
    """An account of balances alone: its table of positions is empty, and has its columns."""
    report = report_of(
        scenarios,
        [],
        balances=pd.DataFrame([("x", "USD", 5.0)], columns=["account", "asset", "amount"]),
        accounts=[mm.Account("x")],
    )
    target, beside, _ = report.to_parquet(tmp_path / "m.parquet")
    assert pd.read_parquet(target)["equity"].tolist() == [5.0]
    positions = pd.read_parquet(beside)
    assert len(positions) == 0
    assert list(positions.columns) == list(report.positions.columns)


def test_parquet_that_cannot_be_written_leaves_nothing_half_done(owned, tmp_path):
    with pytest.raises(mm.DataError, match="no folder"):
        owned.to_parquet(tmp_path / "nowhere" / "m.parquet")
    (tmp_path / "m.positions.parquet").mkdir()
    with pytest.raises(mm.DataError, match="is not a file"):
        owned.to_parquet(tmp_path / "m.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["m.positions.parquet"]
