"""Work in other processes, and BLAS held to one thread, so that results are the same anywhere.

In: a function of a module, and the items to call it with. Out: its results in the items' order. A
process is started only where the work that is left pays for it, and none outlives the call or
this process.

The processes are plain subprocesses that read tasks from a pipe and answer on another. Compared
with a pool of `multiprocessing` or joblib, they inherit nothing from this process: a forked child
may start its own, a script needs no ``if __name__ == "__main__"``, nothing lies in shared memory,
and when this process is killed, its end of the pipe closes, and they end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from mcmargin.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

START_SECONDS = 2.5
"""Processes are started only if they save more seconds than this. Each of them must first load
numpy, scipy, pandas and arch, which takes between one and two."""

WATCH_SECONDS = 0.5
"""How often a process looks whether its parent still lives."""

_SERVE = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from mcmargin.workers import serve; serve()"
)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs() -> int:
    """One job a core; a single one where `multiprocessing` started this process.

    Whoever started that process shares the cores out among several.
    """
    return cores() if multiprocessing.parent_process() is None else 1


def parallel(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results of `work`, in the items' order, made by threads where there are several.

    Examples
    --------
    >>> list(parallel(abs, [-1, 2, -3], 2))
    [1, 2, 3]
    """
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def map_where_it_pays(
    work: Callable[[T], R], items: Sequence[T], jobs: int
) -> Generator[R, None, None]:
    """Results of `work`, in the items' order; in other processes where that saves time.

    The first items are worked on here, which tells what the others will take. As soon as
    processes would save more than `START_SECONDS`, they get the rest. Where each item is worked
    on changes nothing in its result.

    Parameters
    ----------
    work : callable
        A function of a module, not one that a notebook or a script defines: a process imports it.
    items : sequence
        They are sent by pickle, over a pipe that nobody else can write to.
    jobs : int
        The most items at a time.

    Yields
    ------
    object
        The processes end when the generator is used up or closed.

    Warns
    -----
    RuntimeWarning
        If a process could not be started, or ended before its time: its items are worked on here.

    Examples
    --------
    >>> list(map_where_it_pays(abs, [-1, 2, -3], jobs=2))
    [1, 2, 3]
    """
    began = time.perf_counter()
    for at, item in enumerate(items):
        left = len(items) - at
        count = min(jobs, left)
        expected = (time.perf_counter() - began) / at * left if at else 0.0
        if expected * (1.0 - 1.0 / count) > START_SECONDS:
            yield from in_processes(work, items[at:], count)
            return
        yield work(item)


def in_processes(
    work: Callable[[T], R], items: Sequence[T], count: int
) -> Generator[R, None, None]:
    """Results of `work`, in the items' order, made by `count` processes; see `map_where_it_pays`.

    Examples
    --------
    >>> list(in_processes(abs, [-1, 2, -3], 2))
    [1, 2, 3]
    """
    processes = _started(count)
    if not processes:
        yield from map(work, items)
        return
    stopped = threading.Event()
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def run(item: T) -> R:
        process = idle.get()
        try:
            good, answer = _asked(process, work, item)
        except (OSError, EOFError, pickle.UnpicklingError, ValueError) as error:
            if stopped.is_set():
                raise
            _tell(f"a worker process ended ({error or 'no answer'})")
            return work(item)
        finally:
            idle.put(process)
        if not good:
            raise answer
        result: R = answer
        return result

    with ThreadPoolExecutor(len(processes)) as threads:
        try:
            yield from threads.map(run, items)
        finally:
            # Before the threads are waited for, since each of them waits for its process.
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                _end(process)


def serve() -> None:
    """Answer tasks from stdin, in a process that `in_processes` started, until stdin ends."""
    # On Windows Ctrl-C reaches every process of a console; this one's parent ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints is no answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(EOFError, BrokenPipeError):
        while True:
            work, item = pickle.load(sys.stdin.buffer)
            try:
                answer = True, work(item)
            except Exception as error:
                answer = False, error
            answers.write(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
            answers.flush()


class _OneBlasThread:
    """Holds BLAS to one thread as long as any thread of this process asks for it.

    The number of BLAS threads is a setting of the whole process: the first to ask lowers it, and
    the last to leave puts it back.
    """

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limits: Any = None

    def enter(self) -> None:
        with self.lock:
            if self.users == 0:
                self.limits = _limits()
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.limits, limits = None, self.limits
                if limits is not None:
                    _let_this_thread_set_limits()
                    limits.restore_original_limits()
                    _let_this_thread_set_limits()


def _let_this_thread_set_limits() -> None:
    """Take the right to set limits of OpenBLAS from whichever thread has it.

    Newer releases of threadpoolctl give it to the first thread that sets one, and do nothing,
    without a word, where another thread asks: there BLAS would keep its threads.
    """
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


def _limits() -> Any:
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        # A bare machine, where only a GPU is checked, may lack it.
        if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
            raise EngineError(
                "threadpoolctl is not installed; install it, or set OPENBLAS_NUM_THREADS=1"
            ) from None
        return None
    _let_this_thread_set_limits()
    return threadpool_limits(1, user_api="blas")


_blas = _OneBlasThread()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, so that a result does not depend on how many it has.

    BLAS adds up in another order with another number of threads.

    Raises
    ------
    EngineError
        If threadpoolctl is not installed, and BLAS was not told to use one thread.

    Examples
    --------
    >>> with one_blas_thread():
    ...     pass
    """
    held = _blas
    held.enter()
    try:
        yield
    finally:
        held.leave()


def _fresh_blas() -> None:
    """Forget, in a forked child, the threads that held BLAS: they are not there."""
    global _blas
    _blas = _OneBlasThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_blas)


def _started(count: int) -> list[subprocess.Popen[bytes]]:
    """Processes that wait for tasks, as many as could be started."""
    processes: list[subprocess.Popen[bytes]] = []
    if "py" not in os.path.basename(sys.executable or ""):
        # Inside another program, which would not take the options of Python.
        return processes
    path = f"{json.dumps([str(place) for place in sys.path])}\n".encode()
    try:
        for _ in range(count):
            process = subprocess.Popen(
                # -P: no module beside the user's script takes the place of a library's.
                [sys.executable, "-P", "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is for this process, which ends the others; Windows knows no groups.
                process_group=0 if os.name == "posix" else None,
            )
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(path)
            process.stdin.flush()
    except OSError as error:
        _tell(f"a worker process could not be started ({error.strerror})")
    return processes


def _asked(process: subprocess.Popen[bytes], work: Callable[[T], R], item: T) -> tuple[bool, Any]:
    """Whether a process's work succeeded, and its result or its exception."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(pickle.dumps((work, item), pickle.HIGHEST_PROTOCOL))
    process.stdin.flush()
    good, answer = pickle.load(process.stdout)
    return good, answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended, whatever it is at."""
    # A process that was forked meanwhile may hold the pipe open, so that stdin would not end.
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _tell(what: str) -> None:
    warnings.warn(f"{what}; its work is done in this process", RuntimeWarning, stacklevel=3)
