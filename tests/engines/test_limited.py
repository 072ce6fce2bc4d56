"""On how many paths each asset's price was floored, and its variance capped."""

import re
from dataclasses import replace

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.policies.policy_parts import Procyclicality
from tests.helpers.books import book_of
from tests.helpers.models import make_model, with_history

HORIZONS = (1, 2, 3)


def model_of(correlation=0.3):
    """Make three assets, of which the first and third may move by a multiple of their price."""
    matrix = np.full((3, 3), correlation)
    np.fill_diagonal(matrix, 1.0)
    model = make_model(("garch", "constant", "garch"), "t", "t", correlation=matrix)
    state = replace(model.state, variance=np.array([0.3, 1e-4, 0.05]))
    return replace(model, state=state)


def by_hand(scenarios):
    """Count, for each asset, the paths that are at a limit at a horizon, from the arrays."""
    floor = np.float32(scenarios.plan.price_floor - 1.0)
    model = scenarios.model
    highest = scenarios.plan.variance_cap * model.volatility.sample_variance
    at_floor = (scenarios.returns <= floor).any(axis=0).sum(axis=1)
    at_cap = (scenarios.next_variance >= np.float32(highest)[:, None]).any(axis=0).sum(axis=1)
    any_floor = (scenarios.returns <= floor).any(axis=(0, 1)).sum()
    return at_floor, at_cap, any_floor


@pytest.mark.parametrize("options", [{}, {"block_tiles": 1}, {"threads": 3}])
def test_paths_at_a_limit_are_counted_by_asset(options):
    """Every bar is a horizon, so that the arrays show every path that a limit holds."""
    scenarios = mm.simulate(
        model_of(), horizons=HORIZONS, paths=5000, seed=3, variance_cap=30.0, price_floor=0.2,
        engine="numpy", **options,
    )  # fmt: skip
    floored, capped, some = by_hand(scenarios)
    names = scenarios.assets
    assert scenarios.limited == {
        "floored": {names[at]: floored[at] for at in (0, 2)},
        "capped": {names[at]: capped[at] for at in (0, 2)},
    }
    assert list(scenarios.limited["floored"]) == ["a0", "a2"]
    assert floored[0] > floored[2] > 0
    assert floored[1] == capped[1] == 0
    assert scenarios.floored_paths == some


def test_nothing_is_counted_where_nothing_is_limited():
    scenarios = mm.simulate(make_model(("constant",)), horizon=2, paths=2000, seed=3)
    assert scenarios.limited == {"floored": {}, "capped": {}}
    report = mm.margin(book_of([("x", "a0", 1.0)]), scenarios)
    assert report.limited_paths == {}
    assert "Paths with a floored price: 0, with a capped variance: 0." in plain(report)


def plain(report):
    return re.sub(r"\s+", " ", str(report))


def test_reports_name_the_assets():
    """They stand on the terminal, in JSON and on the page, also for the scenarios of the floor."""
    rng = np.random.default_rng(2)
    history = with_history(model_of(), rng.normal(0, 0.5, (400, 3)), np.full((400, 3), 0.3))
    policy = mm.MarginPolicy(procyclicality=Procyclicality(floor_years=2.0))
    scenarios = mm.simulate(
        history, horizons=HORIZONS, paths=4000, seed=3, variance_cap=30.0, price_floor=0.2,
        policy=policy,
    )  # fmt: skip
    report = mm.margin(book_of([("x", "a0", 1.0)]), scenarios, policy=policy)
    own, floor = scenarios.limited, scenarios.companions["floor"].limited
    assert report.limited_paths["floored"] == own["floored"]
    assert report.limited_paths["floored in floor"] == floor["floored"]
    told = f"floored price: {report.floored_paths:,} (a0 {own['floored']['a0']:,}, a2"
    most = next(iter(floor["floored"]))
    beside = f"in the floor scenarios with a floored price: {most} {floor['floored'][most]:,}"
    for text in (plain(report), report.to_html()):
        assert told in text
        assert beside in text
    again = mm.MarginReport.from_json(report.to_json())
    assert again.limited_paths == report.limited_paths
    book = book_of([("x", "a0", 1.0)])
    assert mm.verify(again, history, book).verdict == "equal"
    other = replace(report, limited_paths=report.limited_paths | {"floored": {"a0": 1}})
    assert "limited_paths" in " ".join(mm.verify(other, history, book).reasons)
