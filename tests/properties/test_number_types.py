"""What stands in for a number, a name or a flag, and is none, is refused by name everywhere."""

import warnings
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.data.ranges import declared_ranges
from mcmargin.policies.stress_parts import Gap, GridTerms, Stress, StressWindow

NO_NUMBERS = {
    "masked": np.ma.masked,
    "masked array": np.ma.array([1.0], mask=[True]),
    "complex": 1 + 0j,
    "numpy complex": np.complex128(1.0),
    "timedelta": timedelta(1),
    "numpy timedelta": np.timedelta64(1, "D"),
    "pandas Timedelta": pd.Timedelta("1D"),
    "date": date(2024, 1, 1),
    "datetime": datetime(2024, 1, 1),
    "numpy datetime": np.datetime64("2024-01-01"),
    "Timestamp": pd.Timestamp("2024-01-01"),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "NaN": float("nan"),
    "None": None,
    "text": "1.0",
    "bytes": b"1",
    "truth": True,
    "numpy truth": np.True_,
    "array": np.array([1.0]),
    "list": [1.0],
    "mapping": {},
}
NUMBERS = [
    *(kind(1) for kind in (int, float, np.int8, np.uint64, np.float16, np.float32, np.longdouble)),
    Fraction(1),
]


def made(kind, /, **given):
    """An object of each public class, with one field as given."""
    base = {
        mm.Spot: {"name": "S", "underlying": "a"},
        mm.Perpetual: {"name": "P", "underlying": "a"},
        mm.Future: {"name": "F", "underlying": "a", "expiry": "2030-01-01"},
        mm.Option: {
            **{"name": "O", "underlying": "a", "kind": "call", "strike": 1.0},
            "expiry": "2030-01-01",
        },
        mm.Depeg: {"probability": 0.1, "loss": 0.1},
        mm.Concentration: {"free_notional": 1.0, "rate": 0.1},
        mm.LeverageTier: {"up_to": np.inf, "max_leverage": 2.0},
        mm.Leverage: {"tiers": (mm.LeverageTier(np.inf, 2.0),)},
        mm.Gap: {"underlying": "a", "move": -0.1},
        mm.StressWindow: {"name": "w", "first": "2020-01-01", "last": "2020-02-01"},
        mm.Account: {"name": "x"},
        mm.Market: {"as_of": "2024-01-01", "spot": {"a": 1.0}},
        mm.SimulationPlan: {"seed": 1, "paths": 10, "horizons": (1,), "precision": "single"},
    }
    return kind(**base.get(kind, {}) | given)


KINDS = [
    *(mm.Spot, mm.Perpetual, mm.Future, mm.Option, mm.Depeg, mm.InstrumentLiquidity, mm.Account),
    *(mm.Collateral, mm.Concentration, mm.Gap, mm.GridTerms, mm.Leverage, mm.LeverageTier),
    *(mm.Liquidity, mm.Maintenance, mm.MarginPolicy, mm.Procyclicality, mm.Resources, mm.Stress),
    *(mm.StressWindow, mm.SimulationPlan, mm.ModelSpec),
]
NUMERIC = [
    (kind, each.name)
    for kind in KINDS
    for each in fields(kind)
    if get_type_hints(kind)[each.name] in (float, int, float | None, int | None)
]


def test_every_public_dataclass_of_input_is_asked():
    """A class that is new, or a number without a declared range, fails here."""
    inputs = {value for value in vars_of_mm() if is_dataclass(value)}
    outputs = {
        *(mm.AccountLeverage, mm.AccountStatus, mm.BacktestResult, mm.Book, mm.MarginChange),
        *(mm.Market, mm.MarketModel, mm.Plausibility, mm.PriceHistory, mm.Scenarios),
        *(mm.ProcyclicalityMeasures, mm.ResourcesToRisk, mm.StressReport, mm.TailEstimate),
        *(mm.MarginReport, mm.Verification, mm.VolatilitySurface),
    }
    assert inputs - outputs == set(KINDS)
    whole = {"horizon", "cover", "worst", "seed", "paths", "variance_cap", "price_floor"}
    for kind, name in NUMERIC:
        assert name in declared_ranges(kind) or name in whole, (kind, name)


def vars_of_mm():
    return [getattr(mm, name) for name in mm.__all__ if not name.startswith("_")]


@pytest.mark.parametrize("what", NO_NUMBERS)
def test_what_is_no_number_is_refused_in_every_number(what):
    value = NO_NUMBERS[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, name in NUMERIC:
            optional = type(None) in getattr(get_type_hints(kind)[name], "__args__", ())
            if value is None and optional:
                continue
            with pytest.raises(mm.McMarginError, match=name):
                made(kind, **{name: value})
        for name in ("spot", "fx", "rates", "carry", "volatility", "vol_of_vol", "open_interest"):
            with pytest.raises(mm.DataError, match="must"):
                made(mm.Market, **{name: {"a": value}})
        with pytest.raises(mm.DataError, match="bids"):
            mm.InstrumentLiquidity(bids=((value, 1.0),))


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__)
def test_numbers_of_every_type_are_taken_and_kept_plain(value):
    option = made(mm.Option, strike=value, contract_size=value)
    assert (type(option.strike), option.strike) == (float, 1.0)
    market = made(mm.Market, spot={"a": value}, fx={"EUR": value})
    assert (type(market.spot["a"]), market.fingerprint()) == (
        float,
        made(mm.Market, spot={"a": 1.0}, fx={"EUR": 1.0}).fingerprint(),
    )
    assert type(made(mm.Gap, move=value).move) is float
    frame = pd.DataFrame({"account": ["x"], "instrument": ["a"], "quantity": [value]}, dtype=object)
    assert mm.Book.from_frame(frame).quantities.toarray().tolist() == [[1.0]]


FLAGS = ["yes", "true", 1, 0, 1.0, None, np.array([True]), pd.NA]


@pytest.mark.parametrize("value", FLAGS, ids=repr)
def test_flags_are_true_or_false(value):
    for kind in (mm.Perpetual, mm.Future):
        with pytest.raises(mm.DataError, match="inverse must be True or False"):
            made(kind, inverse=value)
    for flag in (True, np.True_):
        assert made(mm.Perpetual, inverse=flag).inverse is True


@pytest.mark.parametrize("value", [None, 5, 1.5, pd.NA, ["a"], b"a", "", "  "], ids=repr)
def test_names_are_text(value):
    for kind in (mm.Spot, mm.Perpetual, mm.Future, mm.Option):
        for name in ("name", "underlying", "currency"):
            with pytest.raises(mm.DataError, match=name):
                made(kind, **{name: value})
    for name in ("name", "currency"):
        with pytest.raises(mm.DataError, match=name):
            made(mm.Account, **{name: value})
    with pytest.raises(mm.PolicyError, match="underlying"):
        made(mm.Gap, underlying=value)
    with pytest.raises(mm.PolicyError, match="name"):
        made(mm.StressWindow, name=value)
    for kind, name in ((mm.Option, "kind"), (mm.Option, "settlement"), (mm.Account, "mode")):
        with pytest.raises(mm.DataError, match=name):
            made(kind, **{name: value})


REFERENCES = [
    (lambda: made(mm.Option, future="F"), r"future must be a Future, such as Future\('F'"),
    (lambda: made(mm.Option, future=made(mm.Perpetual)), "future must be a Future"),
    (lambda: mm.Leverage(tiers=((1e6, 20),)), r"must hold LeverageTier objects.*\(1000000.0, 20\)"),
    (lambda: mm.Leverage(tiers=5), "must be a tuple of LeverageTier objects"),
    (lambda: mm.Leverage(tiers=mm.LeverageTier(np.inf, 2.0)), "must be a tuple of LeverageTier"),
    (
        lambda: Stress(gaps=(("btc", -0.3),)),
        r"gaps must hold Gap objects, such as Gap\(",
    ),
    (lambda: Stress(gaps=Gap("btc", -0.3)), "gaps must be a tuple of Gap objects"),
    (lambda: Stress(windows=("2008",)), "windows must hold StressWindow objects"),
    (lambda: Stress(windows=StressWindow("w", "2020-01-01", "2020-01-02")), "must be a tuple"),
    (lambda: Stress(grids="deribit"), "grids must map underlyings to grids"),
    (lambda: Stress(grids={"btc": 5}), "grid of 'btc' 5 is unknown"),
    (lambda: Stress(grid_terms={"power": 0.3}), "grid_terms must be of type GridTerms, not dict"),
    (lambda: Stress(depegs=[("USDT", 0.1)]), "depegs must map names to numbers"),
    (
        lambda: mm.MarginPolicy(maintenance={"level": 0.9}),
        "must be of type Maintenance",
    ),
    (lambda: mm.MarginPolicy(stress=GridTerms()), "stress must be of type Stress"),
    (lambda: mm.MarginPolicy(name=5), "name must be text, not 5"),
    (lambda: mm.MarginPolicy(horizons=5), "horizons must be a mapping"),
    (lambda: mm.Maintenance(horizons=[("spot", 1)]), "horizons must be a mapping"),
    (lambda: made(mm.Market, spot=[("a", 1.0)]), "spot must map names to values"),
    (lambda: made(mm.Market, spot={5: 1.0}), "spot: a name must be text, not 5"),
    (lambda: made(mm.Market, coins="BTC"), "coins must be a tuple of currencies"),
    (lambda: made(mm.Market, coins=(5,)), "a coin must be a currency's name, not 5"),
    (lambda: made(mm.Market, quoted={"a": 5}), "quoted"),
    (lambda: made(mm.Market, volatility_asset={"a": 5}), "volatility_asset of 'a' must be a name"),
    (lambda: made(mm.Market, fx_asset=5), "fx_asset must map names to values"),
    (lambda: made(mm.Market, depeg={"a": 0.1}), "depeg of 'a' must be of type Depeg"),
    (lambda: made(mm.Market, liquidity={"a": {"spread": 0.1}}), "must be of type InstrumentLiq"),
    (lambda: made(mm.Market, currency=5), "currency must be text"),
    (lambda: mm.InstrumentLiquidity(bids=(99.0, 98.0)), "bids must be pairs of price and size"),
    (lambda: mm.InstrumentLiquidity(asks=5), "asks must be pairs of price and size"),
]


@pytest.mark.parametrize(("make", "said"), REFERENCES)
def test_references_and_lists_of_other_types_are_refused_by_name(make, said):
    with pytest.raises(mm.McMarginError, match=said):
        make()


def test_lists_are_taken_where_tuples_are():
    tier = mm.LeverageTier(np.inf, 2.0)
    assert mm.Leverage([tier]) == mm.Leverage((tier,))
    assert Stress(gaps=[Gap("a", -0.1)]).gaps == (Gap("a", -0.1),)
    liquid = mm.InstrumentLiquidity(bids=[[99, 5]])
    assert liquid.bids == ((99.0, 5.0),)
    assert made(mm.Market, coins=["a"]).coins == ("a",)


COLUMNS = {
    "complex": [1 + 1j, 2 + 0j],
    "timedelta": pd.to_timedelta(["1D", "2D"]),
    "date": [date(2024, 1, 1), date(2024, 1, 2)],
    "datetime": pd.to_datetime(["2024-01-01", "2024-01-02"]),
    "truth": [True, False],
    "nullable truth": pd.array([True, False], dtype="boolean"),
    "list": [[1.0], [2.0]],
    "mixed": [1.0, timedelta(1)],
    "mixed truth": [1.0, True],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_that_are_no_numbers(kind):
    """pandas would make nanoseconds of days, and 1 of True."""
    cells = COLUMNS[kind]
    row = 3 if kind.startswith("mixed") else 2
    frame = pd.DataFrame({"account": ["x", "y"], "instrument": ["a", "a"], "quantity": cells})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(mm.DataError, match=f"row {row}, column 'quantity': .*is not a number"):
            mm.Book.from_frame(frame)
        with pytest.raises(mm.DataError, match=f"row {row}, column 'amount': .*is not a number"):
            mm.Book.from_frame(
                frame.assign(quantity=1.0),
                balances=frame.rename(columns={"instrument": "asset", "quantity": "amount"}),
            )
        prices = pd.DataFrame({"a": cells}, index=pd.date_range("2024-01-01", periods=2))
        with pytest.raises(mm.DataError, match=f"row {row}, column 'a': .*is not a number"):
            mm.PriceHistory.from_frame(prices)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "float32", "int8", "double[pyarrow]"])
def test_columns_of_every_number(dtype):
    frame = pd.DataFrame({"account": ["x", "y"], "instrument": ["a", "a"]})
    frame["quantity"] = pd.array([1, 2], dtype=dtype)
    assert mm.Book.from_frame(frame).quantities.toarray().ravel().tolist() == [1.0, 2.0]
    frame["quantity"] = [Decimal("1.5"), Decimal(2)]
    assert mm.Book.from_frame(frame).quantities.toarray().ravel().tolist() == [1.5, 2.0]


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, pd.NaT, "", " "], ids=repr)
@pytest.mark.parametrize("kind", ["object", "string", "string[pyarrow]", "category"])
def test_an_empty_name_of_every_type(empty, kind):
    if kind != "object" and empty is pd.NaT:
        return
    names = pd.Series(["x", empty], dtype="object").astype(kind)
    for column, others in (("account", "instrument"), ("instrument", "account")):
        frame = pd.DataFrame({column: names, others: ["a", "b"], "quantity": [1, 2]})
        with pytest.raises(mm.DataError, match=f"frame: row 3, column '{column}': empty"):
            mm.Book.from_frame(frame)


def test_account_numbers_that_a_merge_made_floats(tmp_path):
    """A left merge without a match turns 1001 into 1001.0, which is another account's name."""
    left = pd.DataFrame({"key": [1, 2], "instrument": ["a", "a"], "quantity": [1.0, 2.0]})
    merged = left.merge(pd.DataFrame({"key": [1], "account": [1001]}), how="left", on="key")
    frame = merged.drop(columns="key").assign(account=merged["account"].fillna(1002))
    said = r"row 2, column 'account': 1001.0 is a number with a point, and no name.*'1001'"
    with pytest.raises(mm.DataError, match=said):
        mm.Book.from_frame(frame)
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(mm.DataError, match=said):
        mm.read_positions(tmp_path / "p.parquet")
    whole = frame.assign(account=frame["account"].astype(int))
    assert [each.name for each in mm.Book.from_frame(whole).accounts] == ["1001", "1002"]
    for cell in (True, date(2024, 1, 1), b"x", ("a",), 1 + 0j):
        odd = pd.DataFrame({"account": [cell], "instrument": ["a"], "quantity": [1.0]})
        with pytest.raises(mm.DataError, match=r"column 'account': .* and a name is needed"):
            mm.Book.from_frame(odd)


ARRAYS = {
    "masked": np.ma.array([1.0, 2.0, 1e9], mask=[False, False, True]),
    "complex": np.array([1.0, 2.0, 3.0]) + 0j,
    "timedelta": np.array([1, 2, 3], "m8[D]"),
    "datetime": np.array(["2024-01-01"] * 3, "M8[D]"),
    "truth": np.array([True, False, True]),
    "text": np.array(["1", "2", "3"]),
    "object": np.array([1.0, None, 2.0], object),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_no_real_numbers(kind):
    values = ARRAYS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for work in (
            lambda: mm.expected_shortfall(values, level=0.6),
            lambda: mm.value_at_risk(values, level=0.6),
            lambda: mm.estimate_tail(values, level=0.6),
            lambda: mm.procyclicality_measures(values),
            lambda: mm.black76(values, 100.0, 0.5, 1.0),
            lambda: mm.black76(100.0, 100.0, values, 1.0),
            lambda: mm.black76_greeks(100.0, values, 0.5, 1.0),
            lambda: mm.implied_volatility(values, 100.0, 100.0, 1.0),
        ):
            with pytest.raises(mm.DataError, match=r"numbers|masked"):
                work()
