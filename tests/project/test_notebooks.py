"""Every notebook runs from start to end, and is stored with the outputs that it gives now."""

import base64
import io
import re
import runpy
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

PICTURES = {"first_margin": 4, "crash": 6}

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")

FITS = 0.02
"""Tolerance of figures. Seeds are fixed, but other versions of arch and scipy find other last
digits of a fit, and near a flat optimum other digits of a tail."""

SHADES = 6.0
"""Tolerance of pictures: their mean difference in 32 x 32 fields, of 256 shades. Any two pictures
of a notebook differ by more than 10; the fonts of another machine change only a few fields."""


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "run_notebooks.py"))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def stored(request):
    return request.param, nbformat.read(request.param, as_version=4)


@pytest.fixture(scope="module")
def fresh(stored, tool):
    path, _ = stored
    return tool["executed"](nbformat.read(path, as_version=4))


def printed(notebook):
    """The text that a notebook prints, in order of its cells, with single spaces."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [each.get("text", each.get("data", {}).get("text/plain", "")) for each in outputs]
    shown = "".join(text + "\n" for text in texts if not text.startswith("<Figure"))
    return " ".join(shown.split())


def pictures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    encoded = [each["data"]["image/png"] for each in outputs if "image/png" in each.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in encoded]


def fields(picture):
    return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), float)


def test_it_is_stored_with_what_its_code_made(stored, tool):
    """`python tools/run_notebooks.py` runs the notebooks and stores them."""
    path, notebook = stored
    assert notebook.metadata.get("code_sha256") == tool["digest"](notebook)
    assert len(pictures(notebook)) == PICTURES[path.stem]


def test_it_prints_what_is_stored(stored, fresh):
    _, notebook = stored
    before, now = printed(notebook), printed(fresh)
    assert NUMBER.sub("#", now) == NUMBER.sub("#", before)
    stands, found = (
        np.array([float(each.replace(",", "")) for each in NUMBER.findall(text)])
        for text in (before, now)
    )
    np.testing.assert_allclose(found, stands, rtol=FITS, atol=0.011)


def test_it_draws_what_is_stored(stored, fresh):
    _, notebook = stored
    before, now = pictures(notebook), pictures(fresh)
    for one, other in zip(before, now, strict=True):
        assert abs(fields(one) - fields(other)).mean() < SHADES


def test_pictures_that_differ_are_told_apart(stored):
    """The tolerance is so small that different pictures do not pass."""
    shades = [fields(each) for each in pictures(stored[1])]
    for at, one in enumerate(shades):
        for other in shades[at + 1 :]:
            assert abs(one - other).mean() > SHADES
