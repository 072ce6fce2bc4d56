"""Extreme but finite numbers: a file is refused by name, or its margins are finite.

Files are drawn from the schema itself: the fields of the pydantic models that read markets and
instruments and of the dataclasses that read policies, each with numbers at the ends of its declared
range, within it, and beyond. Limits of plausibility are widened, so that the arithmetic is reached.
"""

import json
import math
import warnings
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mcmargin as mm
from mcmargin.data.ranges import Range, declared_ranges, range_in
from mcmargin.instruments.instrument_files import INSTRUMENT_ROWS
from mcmargin.markets.market_files import MarketFile
from mcmargin.policies import policy_parts as parts
from tests.helpers.books import book_of
from tests.helpers.models import make_model

EXTREMES = [0.0, 5e-324, 1e-308, -1e-308, 1e308, -1e308, 1.7976931348623157e308, 1e9, -1e9, 1e-9]
CLOSES = np.array([1e-13, 100.0, 1e13])


def model_of_all_prices():
    """Three assets, whose closes are as far apart as prices may be."""
    model = make_model(("garch", "constant", "egarch"), innovations="t", dependence="t")
    state = replace(model.committed, prices=CLOSES)
    return replace(model, committed=state, state=state)


MODEL = model_of_all_prices()
SCENARIOS = mm.simulate(MODEL, horizons=(1, 2, 3), paths=400, seed=3)
WIDE = {each.name: 1e9 for each in fields(mm.Plausibility)} | {"still_bars": 10**9}
EXPIRIES = ["2020-01-02", "2020-03-27", "2060-01-01", "2261-12-31"]


def numbers(allowed):
    """Numbers of a field that its range holds: ends, usual ones, and any size between."""
    ends = [allowed.least, allowed.most]
    ends = [end for end in ends if math.isfinite(end)]
    inside = [value for value in (*ends, 0.0, 0.01, 0.9, 1.0, 50.0, 100.0) if allowed.holds(value)]
    spread = st.builds(
        lambda share, low, high: math.copysign(math.exp(low + share * (high - low)), high),
        st.floats(0, 1),
        st.just(math.log(max(abs(allowed.least), 1e-15))),
        st.just(math.log(min(abs(allowed.most), 1e30))),
    ).filter(allowed.holds)
    return st.sampled_from(inside) | spread


def allowed_in(field):
    direct = next((each for each in field.metadata if isinstance(each, Range)), None)
    return direct or range_in(field.annotation)


def market_files():
    """Tables of a market: every number of the schema, for assets and currencies of the model."""
    names = {
        **dict.fromkeys(("spot", "volatility", "carry", "vol_of_vol", "open_interest"), "assets"),
        **dict.fromkeys(("fx", "rates", "fx_volatility"), "codes"),
    }
    tables = {}
    for name, field in MarketFile.model_fields.items():
        allowed = allowed_in(field)
        if allowed is not None:
            keys = MODEL.assets if names[name] == "assets" else ("EUR", "USD")
            keys = ("EUR",) if name in ("fx", "fx_volatility") else keys
            tables[name] = st.fixed_dictionaries({key: numbers(allowed) for key in keys})
    row = st.fixed_dictionaries(
        {},
        optional={
            name: numbers(allowed)
            for name, allowed in declared_ranges(mm.InstrumentLiquidity).items()
        },
    )
    share = numbers(Range(0.0, 1.0))
    jump = st.fixed_dictionaries({"probability": share, "loss": share})
    # A limit of plausibility of 1e9 lets prices move by so much from the model's.
    tables["spot"] = st.fixed_dictionaries(
        {
            name: st.sampled_from([close / 100, close, close * 100])
            for name, close in zip(MODEL.assets, CLOSES.tolist(), strict=True)
        }
    )
    needed = {name: tables.pop(name) for name in ("spot", "fx", "volatility", "fx_volatility")}
    tables["liquidity"] = st.fixed_dictionaries({"I0": row, "I1": row})
    tables["depeg"] = st.fixed_dictionaries({"EUR": jump})
    always = {"as_of": st.just("2020-01-01"), "plausibility": st.just(WIDE)}
    return st.fixed_dictionaries(needed | always, optional=tables)


def instrument_rows():
    """A table of one instrument, of each product."""
    words = {
        "underlying": st.sampled_from(MODEL.assets),
        "expiry": st.sampled_from(EXPIRIES),
        "kind": st.sampled_from(["call", "put"]),
        "settlement": st.sampled_from(["quote", "coin"]),
        "inverse": st.booleans(),
        "currency": st.sampled_from(["USD", "USD", "EUR"]),
    }
    products = []
    for product, (row, _) in INSTRUMENT_ROWS.items():
        own = {"product": st.just(product), "underlying": words["underlying"]}
        optional = {}
        for name, field in row.model_fields.items():
            allowed = allowed_in(field)
            kept = own if field.is_required() else optional
            if allowed is not None:
                kept[name] = numbers(allowed)
            elif name in words:
                kept[name] = words[name]
        products.append(st.fixed_dictionaries(own, optional=optional))
    return st.lists(st.one_of(products), min_size=2, max_size=3)


def policies():
    """A policy with parts, each with numbers of its declared ranges."""
    made = {name: numbers(allowed) for name, allowed in declared_ranges(mm.MarginPolicy).items()}
    del made["level"], made["max_age_days"]
    for name in ("procyclicality", "liquidity", "concentration", "stress", "collateral"):
        part = get_args(get_type_hints(mm.MarginPolicy)[name])[0]
        own = {each: numbers(allowed) for each, allowed in declared_ranges(part).items()}
        own.pop("depegs", None)
        # These need scenarios of their own.
        own.pop("floor_years", None)
        own.pop("stressed_weight", None)
        needed = {key: own.pop(key) for key in ("free_notional", "rate") if key in own}
        made[name] = st.fixed_dictionaries(needed, optional=own)
    tier = declared_ranges(parts.LeverageTier)["max_leverage"]
    made["leverage"] = st.fixed_dictionaries(
        {
            "tiers": st.tuples(
                st.fixed_dictionaries({"up_to": st.just(math.inf), "max_leverage": numbers(tier)})
            )
        }
    )
    return st.fixed_dictionaries({"version": st.just(1)}, optional=made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("extreme")


def written(folder, name, content):
    path = folder / name
    path.write_text(tomli_w.dumps(content))
    return path


def finite(value):
    """Whether all numbers of plain values are finite; strings and None are no numbers."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def margined(folder, market, instruments, policy, quantities, entry):
    """Margins of files, end to end, as the command line makes them."""
    named = [row | {"name": f"I{at}"} for at, row in enumerate(instruments)]
    items = mm.read_instruments(written(folder, "i.toml", {"instrument": named}))
    world = mm.read_market(written(folder, "m.toml", market))
    charged = (
        None if policy is None else mm.MarginPolicy.from_toml(written(folder, "p.toml", policy))
    )
    rows = [
        {"account": name, "instrument": item.name, "quantity": quantity, "entry_price": entry}
        for name, quantity in zip(("x", "y"), quantities, strict=True)
        for item in items
    ]
    book = book_of(
        pd.DataFrame(rows),
        items,
        [("x", "USD", quantities[1])],
        orders=pd.DataFrame(rows[:1]).drop(columns="entry_price"),
        accounts=[mm.Account("x"), mm.Account("y", "EUR")],
    )
    greeks = mm.greeks_frame(book, world).select_dtypes("float").to_numpy()
    # Nothing stands where a currency's sum has no meaning; what stands there is finite.
    assert not np.isinf(greeks).any()
    report = mm.margin(book, SCENARIOS, world, charged)
    assert report.what_if("x", {items[0].name: -quantities[0]}).margin >= 0.0
    assert np.isfinite(report.statuses()["equity"]).all()
    assert np.isfinite(report.attribution()["amount"]).all()
    return report


SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
QUANTITIES = st.tuples(*[st.sampled_from([1.0, -1.0, 1e15, -1e15, 1e-300])] * 2)


@SETTINGS
@given(
    market=market_files(),
    instruments=instrument_rows(),
    policy=st.none() | policies(),
    quantities=QUANTITIES,
    entry=numbers(Range(1e-15, 1e15)),
)
def test_files_of_extreme_numbers(folder, market, instruments, policy, quantities, entry):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            report = margined(folder, market, instruments, policy, quantities, entry)
        except mm.McMarginError as error:
            assert len(str(error)) > 20
            return
        content = json.loads(report.to_json())
        assert finite(content)
        assert np.isfinite(report.figures["margin"]).all()
        assert mm.MarginReport.from_json(report.to_json()).to_json() == report.to_json()


BASE = {
    "as_of": "2020-01-01",
    "spot": dict(zip(MODEL.assets, CLOSES.tolist(), strict=True)),
    "fx": {"EUR": 1.2},
    "fx_volatility": {"EUR": 0.1},
    "volatility": dict.fromkeys(MODEL.assets, 0.5),
    "vol_of_vol": dict.fromkeys(MODEL.assets, 0.5),
    "carry": dict.fromkeys(MODEL.assets, 0.01),
    "rates": {"USD": 0.01, "EUR": 0.01},
    "open_interest": dict.fromkeys(MODEL.assets, 1e6),
    "liquidity": {"I0": {"daily_volume": 1e6, "spread": 0.01}},
    "depeg": {"EUR": {"probability": 0.01, "loss": 0.1}},
    "plausibility": WIDE,
}
ITEMS = [
    {"product": "perpetual", "underlying": "a0"},
    {"product": "future", "underlying": "a1", "expiry": "2020-03-27", "carry": 0.01},
    {
        "product": "option",
        "underlying": "a2",
        "kind": "call",
        "strike": 1e13,
        "expiry": "2021-01-01",
    },
]


def put(content, path, value):
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = value if len(path) == 1 else put(copy[path[0]], path[1:], value)
    return copy


def places():
    """Every number of the schema in a file of its own: its path, and its range."""
    for name, field in MarketFile.model_fields.items():
        if (allowed := allowed_in(field)) is not None:
            yield ("market", name, next(iter(BASE[name]))), allowed
    for name, allowed in declared_ranges(mm.InstrumentLiquidity).items():
        yield ("market", "liquidity", "I0", name), allowed
    for name, allowed in declared_ranges(mm.Depeg).items():
        yield ("market", "depeg", "EUR", name), allowed
    for at, row in enumerate(ITEMS):
        for name, field in INSTRUMENT_ROWS[row["product"]][0].model_fields.items():
            if (allowed := allowed_in(field)) is not None:
                yield ("instruments", at, name), allowed


@pytest.mark.parametrize(("path", "allowed"), list(places()), ids=str)
def test_one_extreme_number_is_refused_by_its_field_or_gives_finite_margins(folder, path, allowed):
    values = [*EXTREMES, allowed.least, allowed.most]
    values += [
        np.nextafter(allowed.least, -np.inf).item(),
        np.nextafter(allowed.most, np.inf).item(),
    ]
    refused = 0
    for value in values:
        files = put({"market": BASE, "instruments": ITEMS}, path, value)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                report = margined(
                    folder, files["market"], files["instruments"], None, (1.0, -2.0), 100.0
                )
            except mm.McMarginError as error:
                if not allowed.holds(value):
                    assert str(path[-1]) in str(error)
                    refused += 1
                continue
        assert allowed.holds(value), (path, value)
        assert finite(json.loads(report.to_json()))
    assert refused >= 6


@pytest.mark.parametrize(
    "value", [float("inf"), 10**400, -(10**400), 10**5000], ids=["infinite", "400", "-400", "5000"]
)
def test_numbers_beyond_every_float(value):
    for make in (
        lambda: mm.Perpetual("P", "a0", contract_size=value),
        lambda: mm.Option("C", "a0", "call", value, "2020-03-27"),
        lambda: mm.Market(as_of="2020-01-01", spot={"a0": value}),
        lambda: mm.Depeg(value, 0.1),
        lambda: mm.InstrumentLiquidity(daily_volume=value),
        lambda: mm.InstrumentLiquidity(bids=((value, 1.0),)),
        lambda: mm.MarginPolicy(level=value),
        lambda: mm.MarginPolicy(horizon=value),
        lambda: mm.Gap("a0", value),
        lambda: mm.simulate(MODEL, horizon=value, paths=400, seed=1),
    ):
        with pytest.raises(mm.McMarginError, match=r"must|lie"):
            make()
