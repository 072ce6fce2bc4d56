"""Work in processes: equal results everywhere, also after a fork, and no process left over."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mcmargin import workers
from mcmargin.errors import ModelFileError
from mcmargin.models.model_file import load_model

LINUX = sys.platform == "linux"
WHO = "sleep 0.1; echo $PPID"
"""A command for `subprocess.getoutput`, which prints the id of the process that works."""

MODELS = """
import numpy as np, pandas as pd, mcmargin as mm
from mcmargin import workers

workers.START_SECONDS = {start}
rng = np.random.default_rng(3)
own, common = rng.standard_t(5, (600, 8)), rng.standard_t(5, (600, 1))
closes = 100 * np.cumprod(1 + 0.01 * (own + common), axis=0)
frame = pd.DataFrame(closes, pd.date_range("2019-01-01", periods=600), list("abcdefgh"))
prices = mm.PriceHistory.from_frame(frame)


def fit(jobs, **choices):
    return mm.calibrate(prices, jobs=jobs, **choices).fingerprint()
"""
CHOICES = (
    {"volatility": "garch", "innovations": "normal"},
    {"volatility": "ewma", "innovations": "normal", "factors": 3},
    {"volatility": "gjr", "innovations": "empirical", "correlation_half_life": 100.0},
)


def ran(script, *, start=2.5, blas=1, cwd=None, **options):
    """Run a script after `MODELS` in a new process, and return its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", MODELS.format(start=start) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=os.environ | {"OPENBLAS_NUM_THREADS": str(blas)},
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_are_the_same_to_the_bit_for_any_jobs_and_blas_threads():
    """The fingerprint of a model depends on every bit of it."""
    alone = f"print(*[fit(1, **each) for each in {CHOICES}])\n"
    shared_out = f"workers.START_SECONDS = -1.0\nprint(fit(2, **{CHOICES[0]}))\n"
    one = ran(alone).split()
    assert ran(alone + shared_out, blas=2).split() == [*one, one[0]]


def test_a_forked_child_of_a_process_that_has_calibrated_calibrates():
    """A backtest works like this; daemon processes start processes, too."""
    script = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    choices = dict(volatility="garch", innovations="normal", dependence="gaussian")
    found = [fit(1, **choices)]
    fork = multiprocessing.get_context("fork")
    workers.START_SECONDS = 2.5
    with ProcessPoolExecutor(1, mp_context=fork) as pool:
        found.append(pool.submit(fit, 1, **choices).result(timeout=60))
    workers.START_SECONDS = -1.0
    with fork.Pool(1) as pool:
        found.append(pool.apply_async(fit, (1,), choices).get(timeout=60))
    assert found == found[:1] * 3, found
    """
    ran(script, start=-1.0)


def test_a_script_needs_no_guard_and_the_folder_of_a_script_shadows_nothing(tmp_path):
    (tmp_path / "json.py").write_text("raise ImportError('not the one that is meant')\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, os; sys.path.pop(0); from mcmargin.workers import in_processes\n"
        "if __name__ != '__main__': raise SystemExit('imported again')\n"
        "print(list(in_processes(abs, [-1, 2, -3], 2)))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")


def test_processes_start_only_where_they_save_time(monkeypatch):
    """This process fits two coins, and the first of many slow items; others do the rest."""
    few = list(workers.map_where_it_pays(subprocess.getoutput, [WHO] * 3, 2))
    assert set(few) == {str(os.getpid())}
    monkeypatch.setattr(workers, "START_SECONDS", 0.25)
    many = list(workers.map_where_it_pays(subprocess.getoutput, [WHO] * 12, 2))
    assert many[0] == str(os.getpid())
    assert len({*many} - {str(os.getpid())}) == 2
    alone = list(workers.map_where_it_pays(subprocess.getoutput, [WHO] * 12, 1))
    assert set(alone) == {str(os.getpid())}


def test_two_quick_fits_start_no_process(monkeypatch):
    monkeypatch.setattr(workers, "_started", lambda count: pytest.fail("a process was started"))
    import mcmargin as mm
    from mcmargin.demo import demo_prices

    prices = mm.PriceHistory.from_frame(demo_prices().to_frame().iloc[-500:, :2])
    assert mm.calibrate(prices, jobs=2, innovations="t").assets == prices.assets


def test_a_multiprocessing_child_takes_one_core_unless_it_is_told():
    assert workers.default_jobs() == workers.cores()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(workers.default_jobs) == 1


def test_what_is_raised_in_a_process_is_raised_here():
    with pytest.raises(ModelFileError, match="/no/such/file: cannot be read"):
        list(workers.in_processes(load_model, ["/no/such/file"], 1))


def test_the_work_of_a_process_that_was_killed_is_done_here():
    results = workers.in_processes(subprocess.getoutput, [WHO] * 5, 1)
    worker = int(next(results))
    os.kill(worker, signal.SIGKILL)
    with pytest.warns(RuntimeWarning, match="its work is done in this process"):
        rest = list(results)
    assert rest[-1] == str(os.getpid())


def test_where_no_process_starts_the_work_is_done_here(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.warns(RuntimeWarning, match="could not be started"):
        assert list(workers.in_processes(abs, [-1, -2], 2)) == [1, 2]


def test_processes_end_when_the_results_are_left():
    results = workers.in_processes(subprocess.getoutput, [WHO] * 50, 2)
    worker = int(next(results))
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def gone(pid):
    """Return whether a process has ended, even if its status has not been read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not LINUX, reason="reads /proc and /dev/shm")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("holder", [False, True], ids=["", "with a forked child"])
def test_processes_end_with_their_parent(sent, holder):
    """They end in the middle of their work, and while a forked child holds their pipe open."""
    script = f"""
    import os, sys, subprocess, time, threading
    from mcmargin.workers import in_processes
    results = in_processes(subprocess.getoutput, ["echo $PPID", "echo $PPID"] + ["sleep 3"] * 9, 2)
    workers = {{next(results), next(results)}}
    child = 0
    if {holder}:
        child = os.fork()
        if child == 0:
            os.close(1), time.sleep(30), os._exit(0)
    # Such calls would leave entries in /dev/shm. Entries of other processes are there, too, so
        # they cannot be counted.
    sharing = {{"multiprocessing.synchronize", "multiprocessing.shared_memory", "joblib"}}
    print(*workers, child, len(sharing & set(sys.modules)), flush=True)
    list(results)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        *pids, child, sharing = map(int, process.stdout.readline().split())
        process.send_signal(sent)
        process.wait(timeout=30)
    until = time.monotonic() + 5
    while not all(map(gone, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    if child:
        os.kill(child, signal.SIGKILL)
    assert all(map(gone, pids))
    assert sharing == 0


def test_blas_stays_held_until_the_last_thread_leaves(monkeypatch):
    """Two calibrations overlap; the end of the first must not free BLAS for the second."""
    calls = []

    class Limits:
        def __init__(self):
            calls.append("held")

        def restore_original_limits(self):
            calls.append("free")

    monkeypatch.setattr(workers, "_limits", Limits)
    entered, leave = threading.Event(), threading.Event()

    def second():
        with workers.one_blas_thread():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=second)
    with workers.one_blas_thread():
        thread.start()
        assert entered.wait(10)
    assert calls == ["held"]
    leave.set()
    thread.join()
    assert calls == ["held", "free"]


def test_models_of_any_thread_are_the_same_to_the_bit():
    """threadpoolctl lets one thread set limits, and does nothing when another thread asks.

    Here the main thread has that right, then a user's thread that still works, then a thread that
    has ended. Threads that calibrate at the same time end in another order than they began.
    """
    script = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from threadpoolctl import threadpool_info, threadpool_limits

    def counts():
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    def held():
        with workers.one_blas_thread():
            return counts()

    choices = dict(volatility="garch", innovations="normal", dependence="gaussian")
    before, found = counts(), [fit(1, **choices)]
    with ThreadPoolExecutor(4) as pool:
        found += pool.map(lambda _: fit(1, **choices), range(4))
        assert pool.submit(held).result() == {1}
    with threadpool_limits(max(before), user_api="blas"), ThreadPoolExecutor(1) as pool:
        found.append(pool.submit(lambda: fit(1, **choices)).result())
    assert held() == {1}
    assert counts() == before, (counts(), before)
    print(len(found), *set(found))
    """
    one, two = (ran(script, blas=blas).split() for blas in (1, 2))
    assert one == two
    assert one[0] == "6" and len(one) == 2


def test_answers_survive_what_a_library_prints():
    assert list(workers.in_processes(print, ["noise"] * 3, 1)) == [None] * 3


@pytest.mark.skipif(os.name != "posix", reason="process groups of Unix")
def test_ctrl_c_of_a_terminal_reaches_the_parent_alone():
    """The signal goes to a whole group; a process that is just starting must print nothing."""
    script = """
    import subprocess
    from mcmargin import workers
    print("here", flush=True)
    list(workers.in_processes(subprocess.getoutput, ["sleep 3"] * 9, 2))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout.readline() == "here\n"
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=30)
    assert message.endswith("KeyboardInterrupt\n")
    assert "worker process" not in message
