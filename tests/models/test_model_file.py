"""Saved models: exact, whole or not at all, and refused when cut short, altered or pickled."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcmargin as mm
from mcmargin.models.model_values import SCHEMA
from tests.helpers.models import make_model


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
def test_a_file_that_is_cut_short_is_refused(saved, share):
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


def test_damaged_zip_records_are_noticed_or_harmless(saved):
    """Sizes, offsets, flags (such as: encrypted) and methods of compression, altered at random."""
    model, path = saved
    content = path.read_bytes()
    records = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", content)]
    rng = np.random.default_rng(7)
    for at in records[::2]:
        for offset in range(6, 46):
            changed = bytearray(content)
            changed[min(at + offset, len(content) - 1)] ^= 1 << rng.integers(8)
            path.write_bytes(changed)
            try:
                again = mm.load_model(path)
            except mm.ModelFileError:
                continue
            assert again.fingerprint() == model.fingerprint()


def test_an_altered_number_is_refused(saved):
    _, path = saved
    rewrite(path, lambda arrays: arrays["volatility.omega"].__imul__(2))
    with pytest.raises(mm.ModelFileError, match="checksum"):
        mm.load_model(path)


def test_a_file_signed_with_a_key_needs_that_key(saved):
    model, path = saved
    model.save(path, key=b"ours")
    assert mm.load_model(path, key=b"ours").fingerprint() == model.fingerprint()
    with pytest.raises(mm.ModelFileError, match="checksum"):
        mm.load_model(path, key=b"theirs")


def test_a_pickle_is_never_loaded(saved):
    _, path = saved
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra.npy", buffer.getvalue())
    with pytest.raises(mm.ModelFileError, match="pickle"):
        mm.load_model(path)


def test_another_schema_is_refused_by_its_name(saved, monkeypatch):
    model, path = saved
    monkeypatch.setattr("mcmargin.models.model_values.SCHEMA", "mcmargin.model/0")
    model.save(path)
    monkeypatch.setattr("mcmargin.models.model_values.SCHEMA", SCHEMA)
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


def test_a_file_that_unpacks_to_too_much(saved, monkeypatch):
    model, path = saved
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    monkeypatch.setattr("mcmargin.models.archive.LARGEST_BYTES", size)
    assert mm.load_model(path).fingerprint() == model.fingerprint()
    monkeypatch.setattr("mcmargin.models.archive.LARGEST_BYTES", size - 1)
    with pytest.raises(mm.ModelFileError, match=f"larger than {size - 1} bytes"):
        mm.load_model(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a model", json.dumps({}).encode()])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(mm.ModelFileError):
        mm.load_model(path)
    with pytest.raises(mm.ModelFileError, match="No such file"):
        mm.load_model(tmp_path / "none.npz")


SAVE = """
import os, resource, signal, sys
import mcmargin as mm
from tests.helpers.models import make_model
model = make_model(("gjr", "egarch"), innovations="skewt", dependence="t")
{fault}
try:
    model.save(sys.argv[1])
except mm.DataError as error:
    print(error)
"""
FAULTS = {
    # The kernel kills the process in its write, after so many bytes.
    "killed while writing": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
    "killed before the rename": "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)",
    "file too large": "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
    "disk full": "",
}


def save_with(fault, path, *before):
    """Save another model over a file, in a process of its own that meets a fault."""
    code = SAVE.format(fault=FAULTS[fault])
    return subprocess.run(
        [*before, sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def later_prices():
    index = pd.to_datetime(["2020-01-02", "2020-01-03"])
    frame = pd.DataFrame({"a0": [101.0, 99.0], "a1": [99.0, 98.0]}, index=index)
    return mm.PriceHistory.from_frame(frame)


@pytest.mark.parametrize("fault", ["killed while writing", "killed before the rename"])
def test_killed_while_saving_leaves_the_old_file_and_the_next_save_works(saved, fault):
    model, path = saved
    done = save_with(fault, path)
    assert done.returncode in (-signal.SIGXFSZ, -signal.SIGKILL), done.stderr
    assert mm.load_model(path).fingerprint() == model.fingerprint()
    left = [entry for entry in path.parent.iterdir() if entry != path]
    assert len(left) == 1
    assert left[0].name.endswith(".tmp")
    model.update(later_prices()).save(path)
    assert mm.load_model(path).as_of > model.as_of
    assert list(path.parent.iterdir()) == [path]


def test_a_file_too_large_leaves_the_old_one_and_nothing_else(saved):
    model, path = saved
    done = save_with("file too large", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}: cannot be written (File too large)\n"
    assert mm.load_model(path).fingerprint() == model.fingerprint()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="root mounts the small disk"
)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved, tmp_path):
    """On a disk of 160 kB, mounted for this process alone, there is no room for a second model."""
    _, path = saved
    disk = tmp_path / "disk"
    disk.mkdir()
    # The disk goes with its process, so what is on it is told from within.
    script = (
        'mount -t tmpfs -o size=160k tmpfs "$0" && cp "$1" "$0"/model.npz && shift && '
        '"$@" && cmp "$0"/model.npz "$0"/../model.npz && ls -A "$0"'
    )
    before = ("unshare", "--mount", "sh", "-c", script, str(disk), str(path))
    done = save_with("disk full", disk / "model.npz", *before)
    if "mount" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    expected = f"{disk / 'model.npz'}: cannot be written (No space left on device)\nmodel.npz\n"
    assert done.stdout == expected


def test_an_interrupt_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    model, path = saved

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(later_prices()).save(path)
    assert mm.load_model(path).fingerprint() == model.fingerprint()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/model.npz", "no folder .*none; make it first"),
        ("model.npz/model.npz", "no folder .*model.npz; make it first"),
        ("folder", "it exists and is not a file"),
        ("m" * 300, "File name too long"),
    ],
)
def test_places_that_cannot_hold_a_file(saved, tmp_path, name, reason):
    model, path = saved
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(mm.DataError, match=f"{name}: cannot be written \\({reason}"):
        model.save(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before
    assert mm.load_model(path).fingerprint() == model.fingerprint()


def test_the_longest_name_that_the_folder_takes(saved, tmp_path):
    model, _ = saved
    path = tmp_path / ("m" * 255)
    model.save(path)
    assert mm.load_model(path).fingerprint() == model.fingerprint()
