"""Call a function for many items in worker processes: on this machine, or on a Dask cluster.

Each engine yields the results as they are ready. If a worker is lost, its item is computed again.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

from phase19.errors import OutputError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_LOSSES = 3  # of workers, one after the other, without a result in between
# Workers share the processors, so each has one thread. Sums of one thread round alike on every machine.
_ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")} | {"POLARS_MAX_THREADS": "1"}
_LOST = "workers were lost again and again; one run may need more memory than there is"


def run_locally(task: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Call a function for each item in spawned processes of this machine.

    Parameters
    ----------
    task, items
        A function that can be pickled, and its arguments.
    workers
        Number of processes.

    Yields
    ------
    Result
        What `task` returns, in the order in which it is ready.

    Raises
    ------
    OutputError
        Workers are lost again and again.
    """
    waiting, losses = list(items), 0
    while waiting:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context, initializer=_end_with_parent)
        futures: dict[Future[Result], int] = {}
        finished = set()
        try:
            with _environment(), suppress(BrokenProcessPool):
                for position, item in enumerate(waiting):
                    futures[pool.submit(task, item)] = position
            for future in as_completed(futures):
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield future.result()
                    finished.add(futures[future])
        finally:
            pool.shutdown(cancel_futures=True)
        waiting = [item for position, item in enumerate(waiting) if position not in finished]
        losses = 0 if finished else losses + 1
        if losses == MOST_LOSSES:
            raise OutputError(_LOST)


def _end_with_parent() -> None:
    """End this worker when the process that started it ends, however it ends; the keyboard interrupts only that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a worker

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _environment() -> Iterator[None]:
    """Set the environment that new processes inherit."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def run_on_dask(
    task: Callable[[Item], Result], items: Sequence[Item], workers: int, scheduler: str | None
) -> Iterator[Result]:
    """Call a function for each item on a Dask cluster.

    Parameters
    ----------
    task, items
        As in :func:`run_locally`.
    workers
        Number of processes of a cluster that is started on this machine, without a scheduler.
    scheduler
        Address of the scheduler of a cluster that runs, such as `tcp://host:8786`.

    Yields
    ------
    Result
        What `task` returns, in the order in which it is ready.

    Raises
    ------
    UsageError
        `distributed` is not installed, or there is no scheduler at the address.
    OutputError
        An item loses worker after worker.
    """
    try:
        from distributed import Client, KilledWorker, LocalCluster
        from distributed import as_completed as completed
    except ModuleNotFoundError as missing:
        raise UsageError(f'--engine dask: {missing.name} is missing; pip install "phase19[dask]"') from None
    with ExitStack() as held:
        if scheduler is None:
            place = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, env=_ENVIRONMENT, **place)
            scheduler = held.enter_context(cluster).scheduler_address
        try:
            client = held.enter_context(Client(scheduler, timeout="10s"))
            client.wait_for_workers(1, timeout="60s")
        except (OSError, ValueError) as problem:
            expected = "the address of a Dask scheduler that has workers, such as tcp://host:8786"
            raise UsageError(f"--scheduler: expected {expected}, found {scheduler} ({problem})") from problem
        try:
            for future in completed(client.map(task, items, pure=False)):
                yield future.result()
        except KilledWorker as problem:
            raise OutputError(_LOST) from problem
        except CancelledError as problem:
            raise OutputError("the Dask scheduler was lost; start again to compute what is missing") from problem
