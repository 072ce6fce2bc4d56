"""The commands `calibrate` and `update`."""

import mcmargin as mm
from tests.helpers.commands import run


def test_update_moves_the_model(folder):
    done = run("update", "model.npz", "newer.csv", "-o", "moved.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    old, new = (mm.load_model(folder / name) for name in ("model.npz", "moved.npz"))
    assert new.as_of > old.as_of
