"""Reports are values: what a margin, a stress, a fund, a change and a check tell, elsewhere too."""

import copy
import pickle
import pickletools
from dataclasses import FrozenInstanceError, fields, is_dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import mcmargin as mm
from mcmargin.policies.policy_parts import Resources
from mcmargin.policies.stress_parts import Gap, Stress
from mcmargin.reports.margin_figures import MarginFigures
from tests.helpers.books import book_of
from tests.helpers.models import make_model

POLICY = mm.MarginPolicy(
    stress=Stress(gaps=(Gap("a0", -0.3), Gap("a1", 0.5))), resources=Resources(cover=1)
)


@pytest.fixture(scope="module")
def made():
    """One of each: a margin report, a stress report, a default fund, a change, a verification."""
    model = make_model(("garch", "gjr"))
    rows = [("x", "a0", 2.0), ("x", "a1", -1.0), ("y", "a1", 3.0), ("z", "a0", -4.0)]
    book = book_of(rows, balances=[(name, "USD", 500.0) for name in "xyz"])
    scenarios = mm.simulate(model, horizon=1, paths=2000, seed=1, engine="numpy")
    report = mm.margin(book, scenarios, policy=POLICY)
    larger = mm.margin(book_of([("x", "a0", 3.0), *rows[1:]]), scenarios, policy=POLICY)
    stress = mm.stress(book, scenarios, policy=POLICY)
    return {
        "report": report,
        "stress": stress,
        "resources": mm.resources(report, stress),
        "change": mm.attribute(report, larger),
        "verification": mm.verify(report, model, book),
    }


KINDS = ["report", "stress", "resources", "change", "verification"]


def same(one, other):
    """Whether two values hold the same, to the last bit."""
    if isinstance(one, pd.DataFrame):
        return one.equals(other) and (one.dtypes == other.dtypes).all()
    if sparse.issparse(one):
        return one.shape == other.shape and (one != other).nnz == 0
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if is_dataclass(one):
        names = [each.name for each in fields(one) if each.name != "session"]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "again", [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy]
)
def test_a_copy_is_the_same_value(made, kind, again):
    value = made[kind]
    other = again(value)
    assert type(other) is type(value) and other is not value
    assert same(value, other)
    if kind != "verification":
        assert str(other) == str(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_frozen(made, kind):
    for each in fields(made[kind]):
        with pytest.raises(FrozenInstanceError):
            setattr(made[kind], each.name, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_names_no_lock_and_holds_no_paths(made, kind):
    """Not the 2,000 returns of an asset, of four bytes each."""
    pickled = pickle.dumps(made[kind])
    assert len(pickled) < 24_000
    words = [word for _, word, _ in pickletools.genops(pickled) if isinstance(word, str)]
    apart = ("_thread", "mcmargin.scenarios", "mcmargin.engines", "mcmargin.valuing")
    assert not [word for word in words if word.startswith(apart)]


def test_a_stress_report_tells_every_scenario_wherever_it_is(made):
    """Alone the moves given: each account's positions at the model's prices, moved."""
    stress = pickle.loads(pickle.dumps(made["stress"]))
    prices = dict(zip("01", make_model(("garch", "gjr")).state.prices.tolist(), strict=True))
    held = {"x": {"0": 2.0, "1": -1.0}, "y": {"1": 3.0}, "z": {"0": -4.0}}
    for account, own in held.items():
        found = stress.scenarios_of(account)
        expected = [
            -own.get(asset, 0.0) * prices[asset] * move for asset, move in (("0", -0.3), ("1", 0.5))
        ]
        assert found["loss"].tolist() == pytest.approx(expected, rel=1e-12)
        assert found["loss"].max() == stress.accounts.set_index("account")["loss"][account]


def test_figures_alone_are_what_renderers_take(made):
    """The fields of a report without what a user asks of it, from the same tables."""
    report = made["report"]
    names = [each.name for each in fields(MarginFigures)]
    figures = MarginFigures(**{name: getattr(report, name) for name in names})
    assert figures.account("x") == report.account("x")
    assert figures.accounts == report.accounts
    assert repr(figures) == repr(report)
    assert figures.to_frame().equals(report.to_frame())
    with pytest.raises(mm.DataError, match="no account 'nobody'; it has x, y, z"):
        figures.account("nobody")
