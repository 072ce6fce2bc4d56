"""Falsified reports: each field that a report prints is vouched for by `verify`.

Every leaf of the JSON of a report with surfaces, orders, balances, order books and a whole policy
is changed on its own. What comes out is never `equal`.
"""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
import mcmargin.desk.verification as verification
from mcmargin.policies.policy_parts import (
    Collateral,
    Concentration,
    Leverage,
    LeverageTier,
    Liquidity,
    Maintenance,
    Procyclicality,
)
from mcmargin.policies.stress_parts import Gap, Stress
from tests.helpers.books import book_of
from tests.helpers.files import replaced
from tests.helpers.models import make_model, with_history

POLICY = mm.MarginPolicy(
    level=0.98,
    horizon=2,
    name="house",
    short_option_minimum=0.01,
    maintenance=Maintenance(level=0.95, horizon=1),
    procyclicality=Procyclicality(buffer=0.25, speed_limit=0.5),
    liquidity=Liquidity(spread=0.01),
    concentration=Concentration(free_notional=500.0, rate=0.05),
    leverage=Leverage((LeverageTier(1000.0, 10.0), LeverageTier(math.inf, 4.0))),
    stress=Stress(grids={"*": "okx-other"}, gaps=(Gap("a0", 0.4),), scenario_weight=0.5),
    collateral=Collateral("haircut"),
    tick=0.5,
)
ITEMS = [
    mm.Spot("A", "a0"),
    mm.Perpetual("P", "a0", stressed_funding_rate=0.001),
    mm.Option("C", "a0", "call", 105.0, "2020-03-27"),
    mm.Spot("B", "a1"),
]
ROWS = [("x", "C", -10.0), ("x", "A", 4.0), ("y", "P", 30.0), ("y", "B", -20.0), ("z", "B", 9.0)]
ACCOUNTS = [mm.Account("x", owner="fund"), mm.Account("y", owner="fund", currency="EUR")]
BALANCES = [("x", "a0", 2.0), ("y", "USD", 100.0), ("z", "USD", -5.0)]
QUOTES = {
    "expiry": ["2020-03-27"] * 3 + ["2020-06-26"] * 3,
    "strike": [80.0, 100.0, 125.0] * 2,
    "volatility": [0.52, 0.5, 0.51, 0.51, 0.5, 0.505],
}


@pytest.fixture(scope="module")
def model():
    model = make_model(("gjr", "garch"), "t", "t", variance=4e-4)
    rng = np.random.default_rng(1)
    return with_history(model, 0.02 * rng.standard_normal((9, 2)), np.full((9, 2), 4e-4))


@pytest.fixture(scope="module")
def book():
    return book_of(
        ROWS,
        ITEMS,
        BALANCES,
        orders=[("y", "P", 40.0), ("z", "A", -1.0)],
        accounts=[*ACCOUNTS, mm.Account("z")],
    )


@pytest.fixture(scope="module")
def market():
    as_of = np.datetime64("2020-01-01")
    surface = mm.VolatilitySurface.from_quotes(pd.DataFrame(QUOTES), as_of=as_of, forward=100.0)
    return mm.Market(
        as_of=as_of,
        spot={"a0": 100.0, "a1": 90.0},
        quoted={"a1": "USDT"},
        volatility={"a0": surface, "a1": 0.4},
        fx={"EUR": 1.25, "USDT": 0.99},
        fx_volatility={"EUR": 0.1},
        depeg={"USDT": mm.Depeg(0.01, 0.5)},
        rates={"USD": 0.02},
        carry={"a0": 0.01},
        vol_of_vol={"a0": 0.8},
        liquidity={
            "A": mm.InstrumentLiquidity(
                daily_volume=1e4, spread=0.01, bids=((99.0, 5.0), (98.0, 9.0)), asks=((101.0, 4.0),)
            )
        },
        open_interest={"a0": 1e6},
    )


@pytest.fixture(scope="module")
def report(model, book, market):
    previous = made(model, book, market)
    return made(model, book, market, previous), previous


def made(model, book, market, previous=None):
    scenarios = mm.simulate(model, horizons=(1, 2), paths=1000, seed=7)
    return mm.margin(book, scenarios, market, POLICY, previous=previous)


@pytest.fixture
def quick(monkeypatch):
    """Computes a margin of a plan and policy once, however often it is asked for."""
    kept = {}

    def once(name, work):
        def again(*given, **options):
            plans = [getattr(each, "plan", None) for each in given]
            plain = [each for each in given if not hasattr(each, "save")]
            key = (name, repr((plain, plans, options)))
            if key not in kept:
                kept[key] = work(*given, **options)
            return kept[key]

        monkeypatch.setattr(verification, name, again)

    once("simulate_plan", verification.simulate_plan)
    once("margin", verification.margin)


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from leaves(entry, (*path, name))
    elif isinstance(value, list) and value:
        for place, entry in enumerate(value):
            yield from leaves(entry, (*path, place))
    else:
        yield path, value


def changes(value):
    """Other values of a leaf's kind, and of other kinds."""
    if isinstance(value, bool):
        return [not value, None, 0]
    if isinstance(value, int):
        return [value + 1, value * 2 + 3, "1", None]
    if isinstance(value, float):
        return [value * (1 + 1e-9) + 1e-15, value * 1.5 + 1.0, -value - 1.0, "1", None, [value]]
    if isinstance(value, str):
        return [value + "x", "", 1, None, ["a"]]
    return [1.0, "x", {"a": 1}]


CALLED = {
    "currency": "currenc",
    "expected_shortfall_interval": "expected_shortfall_",
    "value_at_risk_interval": "value_",
}


def test_every_change_of_every_leaf_is_told(model, book, market, report, quick):
    """The market is given beside the report, as the command line has it."""
    this, previous = report
    good = json.loads(this.to_json())
    assert mm.verify(this, model, book, market, previous).verdict == "equal"
    counts = {"different": 0, "refused": 0}
    for path, value in leaves(good):
        # Rows are alike, and another plan or policy is computed anew: these are changed once.
        once = path[0] in ("plan", "policy") or (path[0] == "accounts" and path[1] > 0)
        for new in changes(value)[: 1 if once else None]:
            if new == value and type(new) is type(value):
                continue
            text = json.dumps(replaced(good, path, new))
            try:
                other = mm.MarginReport.from_json(text)
            except mm.ModelFileError as error:
                assert str(error).startswith("report: not a")
                counts["refused"] += 1
                continue
            try:
                found = mm.verify(other, model, book, market, previous)
            except mm.EngineError:
                assert path == ("engine",)
                continue
            counts["different"] += 1
            assert found.verdict == "different", (path, value, new)
            said = "; ".join(found.reasons)
            if path[0] in ("plan", "policy"):
                continue
            names = [str(each) for each in path if isinstance(each, str)]
            named = any(CALLED.get(name, name).rstrip("s") in said for name in names)
            assert named, (path, value, new, said)
    assert counts["different"] > 150
    assert counts["refused"] > 150


def test_every_other_kind_of_value_of_every_branch_is_refused_or_told(
    model, book, market, report, quick
):
    """Whole tables and lists, replaced, emptied, or with one entry more or less."""
    this, previous = report
    good = json.loads(this.to_json())

    def branches(value, path=()):
        if isinstance(value, (dict, list)):
            yield path, value
        for name, entry in (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        ):
            yield from branches(entry, (*path, name))

    for path, value in branches(good):
        if path[:1] == ("accounts",) and len(path) > 1 and path[1] > 0:
            continue
        if not path:
            others = [[], 5, None, "x", {}]
        elif isinstance(value, dict):
            first = dict(list(value.items())[1:])
            others = [value | {"odd": 1}, value | {"odd": "x"}, first, [], 5, None, "x"]
            others += [{"a": 1}, {"a": {"b": 1}}, {"a": [1]}]
        else:
            others = [[*value, 1], [*value, "x"], [*value, *value[-1:]], value[1:], {}, 5, None]
        for new in others:
            if new == value:
                continue
            try:
                other = mm.MarginReport.from_json(json.dumps(replaced(good, path, new)))
                found = mm.verify(other, model, book, market, previous)
            except mm.McMarginError:
                continue
            assert found.verdict != "equal", (path, value, new)


def test_an_altered_report_is_nobodys_previous_one(model, book, market, report):
    """A margin held back by the buffer of a report that somebody edited would be another."""
    this, _ = report
    good = json.loads(this.to_json())
    filed = mm.MarginReport.from_json(json.dumps(good))
    assert filed.to_json() == this.to_json()
    after = made(model, book, market, filed)
    for place in ("calm", "margin"):
        path = ("accounts", 0, place)
        text = json.dumps(replaced(good, path, good["accounts"][0][place] / 3))
        altered = mm.MarginReport.from_json(text)
        with pytest.raises(mm.DataError, match="the previous report was altered"):
            made(model, book, market, altered)
        # Filing it anew does not heal it.
        assert json.loads(altered.to_json())["checksum"] == good["checksum"]
    assert made(model, book, market, this).to_json() == after.to_json()


def test_a_byte_order_mark_before_a_report(report):
    text = report[0].to_json()
    assert mm.MarginReport.from_json("\ufeff" + text).to_json() == text


@pytest.mark.parametrize(
    ("path", "new", "named"),
    [
        (("market", "spot", "a0"), 1.0, "market.spot.a0"),
        (("market", "fx", "EUR"), 99.0, "market.fx.EUR"),
        (("market", "volatility", "a0"), "0" * 64, "market.volatility.a0"),
        (("market", "rates", "USD"), 0.03, "market.rates.USD"),
        (("market", "depeg", "USDT", "loss"), 0.4, "market.depeg.USDT.loss"),
        (("market", "open_interest", "a0"), 5.0, "market.open_interest.a0"),
        (("engine",), "cupy", "engine"),
    ],
)
def test_the_case_of_falsified_prices(model, book, market, report, path, new, named):
    this, previous = report
    text = json.dumps(replaced(json.loads(this.to_json()), path, new))
    found = mm.verify(mm.MarginReport.from_json(text), model, book, market, previous)
    assert found.verdict == "different"
    assert any(said.startswith(f"{named} differs: ") for said in found.reasons), found.reasons


def test_a_field_named_twice_is_refused_wherever_it_stands(report):
    """One reader takes the first value, another the last: `verify` would vouch for the other."""
    text = report[0].to_json()
    places = list(re.finditer(r'"\w+"(?=: )', text))
    assert len(places) > 300
    for place in places:
        for colon in (":", " :", "\n\t: "):
            twice = f"{text[: place.start()]}{place[0]}{colon}12345,{text[place.start() :]}"
            with pytest.raises(mm.ModelFileError, match=f"field '{place[0][1:-1]}' is given twice"):
                mm.MarginReport.from_json(twice)


def test_whole_numbers_that_no_column_holds_are_refused_by_their_field(report):
    good = json.loads(report[0].to_json())
    for number in (2**63, 10**400):
        text = json.dumps(replaced(good, ("owners", 1, "accounts"), number))
        with pytest.raises(mm.ModelFileError, match=r"field owners\[1\].accounts has a whole numb"):
            mm.MarginReport.from_json(text)


@pytest.mark.parametrize("text", [b"{}", None, 5])
def test_what_is_no_text_is_no_report(text):
    with pytest.raises(mm.DataError, match="text must be of type str"):
        mm.MarginReport.from_json(text)
