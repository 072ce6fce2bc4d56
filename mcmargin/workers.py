"""Work on threads and in other processes, and BLAS on one thread, with the same results anywhere.

In: a function, and the items to call it with. Out: its results in the order of the items. Processes
are started only if they save more time than their start takes, and they end with the call, or with
this process if that ends earlier.

The processes are plain subprocesses, which read tasks from one pipe and write answers to another.
Unlike a pool of `multiprocessing` or joblib, they inherit nothing from this process. So a forked
child may start its own, a script needs no ``if __name__ == "__main__"``, and no shared memory is
used. If this process is killed, its end of the pipe closes, and they end.
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
numpy, scipy, pandas and arch, which takes between one and two seconds."""

WATCH_SECONDS = 0.5
"""Seconds between two checks of a process whether its parent still runs."""

_SERVE = (
    "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from mcmargin.workers import serve; serve()"
)


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs() -> int:
    """Return one job for each core, or a single job if `multiprocessing` started this process.

    In the latter case, other processes use the other cores.
    """
    return cores() if multiprocessing.parent_process() is None else 1


def parallel(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the results of `work` in the order of the items, computed by several threads.

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
    """Yield the results of `work` in the order of the items, from processes if that saves time.

    This process works on the first items, which shows how long the others will take. As soon as
    processes would save more than `START_SECONDS`, they get the rest. The results are the same,
    whichever process works on an item.

    Parameters
    ----------
    work : callable
        A function that a process can import from a module. It cannot be defined in a notebook or a
        script.
    items : sequence
        They are pickled and sent over a pipe, which no other process can write to.
    jobs : int
        Largest number of items that are worked on at a time.

    Yields
    ------
    object
        A result. The processes end when the generator is used up or closed.

    Warns
    -----
    RuntimeWarning
        If a process could not be started or ended too early. This process then works on its
        items.

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
    """Yield the results of `work` from `count` processes; see `map_where_it_pays`.

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
            # The processes are ended first, because each thread waits for its process.
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                _end(process)


def serve() -> None:
    """Read tasks from stdin and write answers until stdin ends; `in_processes` starts this."""
    # On Windows, Ctrl-C reaches all processes of a console; here the parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers go to the first stdout. Whatever a library prints goes to stderr.
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
    """Holds BLAS to one thread as long as some thread of this process asks for it.

    The number of BLAS threads is a setting of the whole process. The first thread that enters
    lowers it, and the last one that leaves restores it.
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
    """Give this thread the right to set the limits of OpenBLAS.

    Newer releases of threadpoolctl give this right to the first thread that sets a limit. When
    another thread sets one, they do nothing and raise no error, and BLAS would keep its threads.
    """
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


def _limits() -> Any:
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        # It may be missing on a machine on which only a GPU is checked.
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
    """Hold BLAS to one thread inside a `with` block.

    BLAS adds numbers in another order with another number of threads, which changes last digits.

    Raises
    ------
    EngineError
        If threadpoolctl is not installed and OPENBLAS_NUM_THREADS is not 1.

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
    """Begin anew in a forked child: the threads that held BLAS are not in it."""
    global _blas
    _blas = _OneBlasThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_blas)


def _started(count: int) -> list[subprocess.Popen[bytes]]:
    """Start processes that wait for tasks, and return those that could be started."""
    processes: list[subprocess.Popen[bytes]] = []
    if "py" not in os.path.basename(sys.executable or ""):
        # Python runs inside another program, which does not know the options of Python.
        return processes
    path = f"{json.dumps([str(place) for place in sys.path])}\n".encode()
    try:
        for _ in range(count):
            process = subprocess.Popen(
                # -P: a module beside the user's script cannot replace one of a library.
                [sys.executable, "-P", "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Only this process gets Ctrl-C, and it ends the others. Windows has no groups.
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
    """Ask a process; return whether its work succeeded, and its result or its exception."""
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
    """End this process as soon as its parent has ended, even in the middle of work."""
    # A process that was forked in the meantime may hold the pipe open, and stdin would not end.
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _tell(what: str) -> None:
    warnings.warn(f"{what}; its work is done in this process", RuntimeWarning, stacklevel=3)
