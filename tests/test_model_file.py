"""Saved models: exact, and refused when cut short, altered, of another schema or pickled."""

import io
import json
import zipfile

import numpy as np
import pytest

import mcmargin as mm
from mcmargin.model import SCHEMA
from tests.models import make_model


@pytest.fixture
def saved(tmp_path):
    model = make_model(("garch", "egarch"), innovations="skewt", dependence="t")
    path = tmp_path / "model.npz"
    model.save(path)
    return model, path


def rewrite(path, change):
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


def test_round_trip_is_exact(saved, tmp_path):
    model, path = saved
    again = mm.load_model(path)
    assert again.fingerprint() == model.fingerprint()
    scenarios = [mm.simulate(m, horizon=3, paths=3000, seed=1).returns for m in (model, again)]
    np.testing.assert_array_equal(*scenarios)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_cut_short(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(mm.ModelFileError, match=r"model\.npz"):
        mm.load_model(path)


def test_any_flipped_byte_is_noticed_or_harmless(saved):
    model, path = saved
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 997):
        changed = content.copy()
        changed[at] ^= 0x40
        path.write_bytes(changed)
        try:
            again = mm.load_model(path)
        except mm.ModelFileError:
            continue
        # Zip fields that nothing reads, such as times of day, may change.
        assert again.fingerprint() == model.fingerprint()


def test_altered_number(saved):
    _, path = saved
    rewrite(path, lambda arrays: arrays["volatility.omega"].__imul__(2))
    with pytest.raises(mm.ModelFileError, match="checksum"):
        mm.load_model(path)


def test_another_schema_and_key(saved):
    model, path = saved
    model.save(path, key=b"ours")
    assert mm.load_model(path, key=b"ours").fingerprint() == model.fingerprint()
    for key in (None, b"theirs"):
        with pytest.raises(mm.ModelFileError, match="checksum"):
            mm.load_model(path, key=key)


def test_a_pickle_is_never_loaded(saved):
    _, path = saved
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra.npy", buffer.getvalue())
    with pytest.raises(mm.ModelFileError, match="pickle"):
        mm.load_model(path)


def test_another_schema(saved, monkeypatch):
    model, path = saved
    monkeypatch.setattr("mcmargin.model.SCHEMA", "mcmargin.model/0")
    model.save(path)
    monkeypatch.setattr("mcmargin.model.SCHEMA", SCHEMA)
    with pytest.raises(mm.ModelFileError, match=r"mcmargin\.model/0"):
        mm.load_model(path)


def test_a_header_that_claims_more_than_it_holds(saved):
    _, path = saved
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra.npy", buffer.getvalue())
    with pytest.raises(mm.ModelFileError, match="size"):
        mm.load_model(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a model", json.dumps({}).encode()])
def test_other_files(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(mm.ModelFileError):
        mm.load_model(path)
    with pytest.raises(mm.ModelFileError, match="no such file"):
        mm.load_model(tmp_path / "none.npz")


def test_a_folder_that_is_not_there(saved, tmp_path):
    model, _ = saved
    with pytest.raises(mm.DataError, match="cannot be written"):
        model.save(tmp_path / "none" / "model.npz")
