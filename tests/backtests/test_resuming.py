"""An interrupted walk goes on from what is done, and takes nothing of another walk for its own."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mcmargin.backtests import resuming
from mcmargin.backtests.peers import (
    EwmaNormal,
)
from mcmargin.backtests.walking import read_record
from mcmargin.errors import DataError
from tests.helpers.short_walks import QUICK, assert_same, walked


def test_an_interrupted_walk_goes_on_where_it_was(prices, tmp_path):
    models = {"own": QUICK, "normal": EwmaNormal()}
    whole = walked(prices, models)
    assert_same(whole, walked(prices, models, folder=tmp_path / "walk"))
    done = sorted((tmp_path / "walk").rglob("*.npz"))
    assert len(done) == 2 * 11
    for path in [done[2], done[3], done[10], done[15]]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in done if path.exists()}
    assert_same(whole, walked(prices, models, folder=tmp_path / "walk"))
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


KILLED = """
import sys
import numpy as np
import pandas as pd
import mcmargin as mm
from mcmargin.backtests.backtest import backtest
from mcmargin.backtests.competing import ModelSpec

frame = pd.read_parquet(sys.argv[1])
backtest(
    mm.PriceHistory.from_frame(frame), {"long": {"a": 100.0}, "pair": {"a": 50.0, "b": -50.0}},
    {"own": ModelSpec("ewma", "normal", "gaussian")}, window=200, refit_every=15, paths=2000,
    seed=7, jobs=2, folder=sys.argv[2],
)
"""


def test_a_killed_walk_loses_at_most_the_windows_in_work(prices, tmp_path):
    whole = walked(prices, {"own": QUICK})
    prices.to_frame().to_parquet(tmp_path / "prices.parquet")
    folder = tmp_path / "walk"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "prices.parquet"), str(folder)],
        env=os.environ | {"MCMARGIN_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(list(folder.rglob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        if process.poll() is not None:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # its workers look for it twice a second
    assert list(folder.rglob("*.npz"))
    assert_same(whole, walked(prices, {"own": QUICK}, folder=folder))


def test_a_folder_of_other_arguments_is_refused_and_left_as_it_is(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    before = sorted(path.name for path in (tmp_path / "walk").rglob("*"))
    for settings in ({"seed": 8}, {"window": 201}, {"levels": (0.95,)}):
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk", **settings)
    with pytest.raises(DataError, match="other arguments"):
        walked(prices, {"m": EwmaNormal(0.97)}, folder=tmp_path / "walk")
    assert sorted(path.name for path in (tmp_path / "walk").rglob("*")) == before


def test_a_folder_that_holds_something_else_is_refused(prices, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no backtest"):
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_window_that_was_cut_short_is_named(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    path = min((tmp_path / "walk").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a window of a backtest") as told:
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    assert str(path) in str(told.value)
    path.unlink()
    assert_same(
        walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk"),
        walked(prices, {"m": EwmaNormal()}),
    )


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(prices, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be written"):
        walked(prices, {"m": EwmaNormal()}, folder=Path(tmp_path / "file" / "walk"))


def test_any_byte_of_a_window_that_changes_is_noticed_or_means_nothing(prices, tmp_path):
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path / "walk")
    path = min((tmp_path / "walk").rglob("*.npz"))
    whole, wanted = path.read_bytes(), read_record(path)
    noticed = 0
    for at in np.random.default_rng(6).integers(len(whole), size=150).tolist():
        changed = bytearray(whole)
        changed[at] ^= 0x55
        path.write_bytes(changed)
        try:
            found = read_record(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: not a window of a backtest")
            noticed += 1
        else:
            assert all(
                np.array_equal(each, getattr(wanted, name), equal_nan=True)
                for name, each in vars(found).items()
            )
    assert noticed > 120


def loaded(path, text):
    """The class Mine of a module file, as a user would import it."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("models_of_a_user", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["models_of_a_user"] = module
    spec.loader.exec_module(module)
    return module.Mine


MINE = """
from dataclasses import dataclass
from mcmargin.backtests.peers import StaticPercentage

@dataclass(frozen=True)
class Mine(StaticPercentage):
    def forecast(self, fitted, closes, question):
        return StaticPercentage(2 * self.share).forecast(fitted, closes, question)
"""


def test_a_folder_is_of_other_arguments_once_a_source_has_changed(prices, tmp_path, monkeypatch):
    folder, module = tmp_path / "walk", tmp_path / "models_of_a_user.py"
    try:
        walked(prices, {"m": loaded(module, MINE)()}, folder=folder)
        walked(prices, {"m": loaded(module, MINE)()}, folder=folder)
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": loaded(module, MINE.replace("2 *", "3 *"))()}, folder=folder)
        mine = loaded(module, MINE)
        module.unlink()
        with pytest.raises(DataError, match="source of model 'm' cannot be read"):
            walked(prices, {"m": mine()}, folder=folder)
        assert walked(prices, {"m": mine()}).settings["seed"] == 7
        module.write_text(MINE)
        monkeypatch.setattr(resuming, "package_version", lambda name: f"another {name}")
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": mine()}, folder=folder)
        monkeypatch.undo()
        monkeypatch.setattr(resuming, "_package", lambda: (("walking.py", "another"),))
        with pytest.raises(DataError, match="other arguments"):
            walked(prices, {"m": mine()}, folder=folder)
    finally:
        sys.modules.pop("models_of_a_user", None)


def test_a_folder_with_only_a_temporary_file_is_new(prices, tmp_path):
    """A kill between the temporary file and the first name leaves this."""
    (tmp_path / ".mcmargin-0123abcd-77-00ff.tmp").write_bytes(b"half")
    walked(prices, {"m": EwmaNormal()}, folder=tmp_path)
    assert (tmp_path / "backtest.txt").exists()


HOLDER = """
import sys
from pathlib import Path
from mcmargin.backtests.resuming import folder_of

with folder_of(Path(sys.argv[1]), "any"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_walk_in_one_folder(prices, tmp_path):
    folder = tmp_path / "walk"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().strip() == b"held"
        with pytest.raises(DataError, match=f"process {process.pid} on .* is walking in it"):
            walked(prices, {"m": EwmaNormal()}, folder=folder)
        process.stdin.close()
    with pytest.raises(DataError, match="other arguments"):
        walked(prices, {"m": EwmaNormal()}, folder=folder)


def test_progress_starts_at_what_was_read(prices, tmp_path):
    models = {"m": EwmaNormal(), "n": EwmaNormal(0.9)}
    walked(prices, models, folder=tmp_path / "walk")
    done = sorted((tmp_path / "walk").rglob("*.npz"))
    for path in (done[1], done[-1]):
        path.unlink()
    told = []
    walked(prices, models, folder=tmp_path / "walk", progress=lambda *each: told.append(each))
    # Windows are of 15 dates, and the last one of each model is of 10.
    assert told[0] == (2 * 160 - 15 - 10, 2 * 160)
    assert told[-1] == (2 * 160, 2 * 160)
