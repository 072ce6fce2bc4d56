"""The package against vectors.json, which make_vectors.py computed without it."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.draws.random_stream import MIXING, NAMED, WordSource, lane_of, stream_key
from mcmargin.engines import numpy_engine
from mcmargin.models.innovations import Innovations
from mcmargin.models.volatility import volatility_of
from tests.helpers.books import book_of
from tests.helpers.models import make_model

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "vectors.json").read_text())
MODEL = VECTORS["model"]


@pytest.fixture
def source():
    return WordSource(stream_key(VECTORS["seed"]))


def test_the_script_still_makes_the_file():
    """Integers exactly; floats to 1e-12, as another C library may round log and cos otherwise."""
    again = json.loads(json.dumps(runpy.run_path(str(HERE / "make_vectors.py"))["make"]()))
    assert list(again) == list(VECTORS)
    for name, value in again.items():
        assert_close(value, VECTORS[name])


def assert_close(new, old):
    if isinstance(old, dict):
        assert list(new) == list(old)
        new, old = list(new.values()), list(old.values())
    if isinstance(old, list):
        assert len(new) == len(old)
        for a, b in zip(new, old, strict=True):
            assert_close(a, b)
    elif isinstance(old, float):
        # A float32 normal may be one unit in the last place off where log or cos is.
        assert new == pytest.approx(old, rel=1e-12, abs=1e-6 if np.float32(old) == old else 0)
    else:
        assert new == old


def test_the_key_is_that_of_the_seed():
    assert [f"{word:016x}" for word in stream_key(VECTORS["seed"])] == VECTORS["key"]


def test_words_bit_for_bit(source):
    rows = VECTORS["words of tile, slot, step, purpose, counter"]
    for tile, slot, step, purpose, j, four in rows:
        words = source.words(tile=tile, step=step, purpose=purpose, first_slot=slot)
        assert [f"{word:016x}" for word in words[4 * j - 4 : 4 * j]] == four


@pytest.mark.parametrize(("width", "bound"), [(32, 5e-6), (64, 1e-13)])
def test_normals_to_the_engine_bound(source, width, bound):
    fill = source.normals_single if width == 32 else source.normals_double
    out = np.empty((1, 1, 2048), f"f{width // 8}")
    rows = VECTORS[f"float{width} normals of tile, slot, step, path"]
    for tile, slot, step, path, normal in rows:
        fill(tiles=range(tile, tile + 1), step=step, first_slot=slot, out=out)
        assert abs(out[0, 0, path] - normal) <= bound


def test_mixing_uniforms_and_dates_exactly(source):
    for tile, step, path, u in VECTORS["mixing uniforms of tile, step, path"]:
        tiles, steps = range(tile, tile + 1), range(step, step + 1)
        assert source.uniforms(tiles=tiles, steps=steps, purpose=MIXING)[0, 0, path] == u
    for tile, step, path, date in VECTORS["dates of 1249 of tile, step, path"]:
        assert source.dates(tile=tile, step=step, count=1249)[path] == date


def test_words_of_names_bit_for_bit(source):
    for name, lane in VECTORS["lanes of name"]:
        assert f"{lane_of(name):016x}" == lane
    for name, tile, step, purpose, j, four in VECTORS[
        "words of name, tile, step, purpose, counter"
    ]:
        words = source.words(tile=tile, step=step, purpose=purpose, lane=lane_of(name))
        assert [f"{word:016x}" for word in words[4 * j - 4 : 4 * j]] == four


def test_normals_of_names_to_the_engine_bound(source):
    out = np.empty((1, 1, 2048))
    for name, tile, step, path, normal in VECTORS["float64 normals of name, tile, step, path"]:
        tiles, steps, lane = range(tile, tile + 1), range(step, step + 1), lane_of(name)
        source.normals_double(
            tiles=tiles, step=step, first_slot=0, out=out, purpose=NAMED, lane=lane
        )
        assert abs(out[0, 0, path] - normal) <= 1e-13
        drawn = numpy_engine.named_normals(VECTORS["seed"], lane, tiles, steps)
        assert drawn.shape == (1, 2048)
        assert abs(drawn[0, path] - normal) <= 1e-13


def test_jumps_of_names_exactly(source):
    for name, tile, step, paths in VECTORS["paths that jump at 0.01 of name, tile, step"]:
        lane = lane_of(name)
        jumps = source.jumps(tile=tile, step=step, lane=lane, probability=0.01)
        assert np.flatnonzero(jumps).tolist() == paths
        tiles, steps = range(tile, tile + 1), range(step, step + 1)
        drawn = numpy_engine.named_jumps(VECTORS["seed"], lane, tiles, steps, 0.01)
        assert np.flatnonzero(drawn[0]).tolist() == paths


def margin(dependence, precision):
    law = "t" if dependence == "t" else "normal"
    nu = float(MODEL["nu"]) if dependence == "t" else None
    model = make_model(
        MODEL["kinds"],
        innovations=Innovations(law, np.array([nu] if nu else [])),
        dependence=dependence,
        correlation=np.array(MODEL["correlation"]),
        nu=nu,
    )
    state = replace(
        model.state, variance=np.array(MODEL["variance"]), prices=np.array(MODEL["spot"])
    )
    volatility = volatility_of(
        tuple(MODEL["kinds"]),
        np.array(MODEL["coefficients"]),
        np.array(MODEL["sample_variance"]),
    )
    model = replace(model, volatility=volatility, committed=state, state=state)
    scenarios = mm.simulate(
        model,
        horizon=MODEL["bars"],
        paths=MODEL["paths"],
        seed=VECTORS["seed"],
        precision=precision,
    )
    positions = {"account": "x", "instrument": model.assets, "quantity": MODEL["positions"]}
    book = book_of(pd.DataFrame(positions))
    return mm.margin(book, scenarios).accounts[0]


@pytest.mark.parametrize("dependence", ["gaussian", "t"])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_whole_margins_are_the_golden_ones(dependence, precision):
    """Double to 1e-9 of the figure; single to the engine bound, 2e-5 of gross exposure."""
    account = margin(dependence, precision)
    for figure, expected in VECTORS["margins"][f"{dependence} {precision}"].items():
        bound = 2e-5 * account.gross_exposure if precision == "single" else 1e-9 * expected
        assert abs(getattr(account, figure) - expected) <= bound
    assert account.gross_exposure == pytest.approx(3300.0)


def test_the_mixing_table_is_the_quantile_to_some_millionths():
    """The table's lines err by up to 1e-5 of chi-square: 5e-6 of a loss, and less of a mean."""
    account = margin("t", "double")
    for figure, expected in VECTORS["margins"]["t double without the table"].items():
        assert abs(getattr(account, figure) / expected - 1) < 5e-6
