"""Many independent jobs: in this process, in worker processes beside it, and split over the ranks of a launch.

Ranks are started by Lightning Fabric, as in training: rank k of n takes every n-th job from the k-th on, and
rank 0 gets the results of all. Each rank may have workers of its own. What comes out is the same, in the same
order, however the jobs are distributed.

Workers and ranks end with the process that started them, however it ends, and leave nothing half written.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING, Any, TypeVar

from snn_codec.errors import UserError

if TYPE_CHECKING:
    import lightning_fabric
    from threadpoolctl import ThreadpoolController

State = TypeVar("State")
Job = TypeVar("Job")
Result = TypeVar("Result")
_ENDING = (signal.SIGINT, signal.SIGTERM)
EXIT_SECONDS = 20  # for a rank to leave when it is done
GRACE_SECONDS = 5  # for a process whose parent has ended to remove what is half written


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_cores() -> int:
    """Cores that nothing else has used over the last minute, at least one.

    More threads than that wait for each other: a training step of two threads on two busy cores takes longer than one
    of a single thread.
    """
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, round(cores() - busy))


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread in the block: sums then have one order, so that all machines get the same."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def one_blas_thread() -> AbstractContextManager:
    """NumPy's products are computed on one thread in the block.

    Many small ones are no faster on several, whose threads wait for each other, and far slower on busy cores.
    """
    return _blas().limit(limits=1)


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    # looking for libraries takes 100 times as long as a limit
    return ThreadpoolController().select(user_api="blas")


@dataclass(frozen=True)
class Parallelism:
    """How jobs are distributed: `workers` processes for each of `devices` ranks on each of `nodes` machines.

    Raises:
        UserError: A number below one.
    """

    workers: int = 1
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        for name in ("workers", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: must be 1 or more")

    @property
    def ranks(self) -> int:
        return self.devices * self.nodes


class Ranks:
    """This process among the ranks; with more than one rank, making it launches the others.

    Args:
        parallelism: How many ranks and workers.
        device: `cpu`, `cuda` ...; with several ranks, each has its own device of that kind.

    Attributes:
        rank: This process's number; `is_main` says that it is 0, the one that prints and writes.
        device: The one to compute on.

    Raises:
        UserError: There are not that many devices.
    """

    def __init__(self, parallelism: Parallelism, device: str = "cpu"):
        self.parallelism, self.rank, self.device = parallelism, 0, device
        if parallelism.ranks > 1:
            self._launch(device.partition(":")[0])

    def _launch(self, accelerator: str) -> None:
        from lightning_fabric.strategies import DDPStrategy
        from torch import distributed

        fabric = fabric_of(
            f"--devices {self.parallelism.devices}",
            accelerator=accelerator,
            devices=self.parallelism.devices,
            num_nodes=self.parallelism.nodes,
            # the first rank to be done waits for the last one, which may have hours of recordings more
            strategy=DDPStrategy(timeout=timedelta(days=2)),
        )
        fabric.launch()
        atexit.register(distributed.destroy_process_group)
        end_with_launcher(fabric)
        self.rank, self.device = fabric.global_rank, str(fabric.device)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """On every rank, the value that the first one has."""
        if self.parallelism.ranks == 1:
            return value
        from torch import distributed

        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def map(
        self,
        work: Callable[[State, Job], Result],
        prepare: Callable[[], State],
        jobs: Sequence[Job],
        progress: Callable[[float], None] = lambda share: None,
    ) -> Iterator[Result]:
        """`work(prepare(), job)` for every job, in the order of the jobs; on ranks other than the first, nothing.

        `prepare` is called once in each process, which then computes on one thread if it is a worker. Both
        functions are pickled if there are workers. `progress` is called with the share of this rank's jobs done.

        Raises:
            UserError: That of a job, or a process died.
        """
        if self.parallelism.ranks == 1:
            yield from self._here(work, prepare, jobs, progress)
            return
        results: list[Result] = []
        failure = None
        try:
            results = list(self._here(work, prepare, jobs[self.rank :: self.parallelism.ranks], progress))
        except UserError as error:  # the others wait for this rank; they have to hear of it
            failure = str(error)
        yield from self._gathered(results, failure, len(jobs))

    def _gathered(self, results: list[Result], failure: str | None, n_jobs: int) -> Iterator[Result]:
        from torch import distributed

        everyone: list[Any] = [None] * self.parallelism.ranks
        distributed.all_gather_object(everyone, (results, failure))
        distributed.barrier()
        if not self.is_main:
            return
        for _, message in everyone:
            if message is not None:
                raise UserError(message)
        for number in range(n_jobs):
            yield everyone[number % self.parallelism.ranks][0][number // self.parallelism.ranks]

    def _here(
        self,
        work: Callable[[State, Job], Result],
        prepare: Callable[[], State],
        jobs: Sequence[Job],
        progress: Callable[[float], None],
    ) -> Iterator[Result]:
        """The jobs of this rank, by its workers."""
        workers = min(self.parallelism.workers, len(jobs))
        if workers <= 1:
            if not jobs:
                return
            state = prepare()
            for number, job in enumerate(jobs):
                yield work(state, job)
                progress((number + 1) / len(jobs))
            return
        # spawned, not forked: a fork of a process with PyTorch's threads may hang
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _Worker.begin, (work, prepare)) as pool:
            try:
                with _uninterrupted():
                    found = pool.map(_Worker.do, jobs)  # starts the workers
                for number, result in enumerate(found):
                    yield result
                    progress((number + 1) / len(jobs))
            except BrokenProcessPool as error:
                raise UserError(
                    f"one of {workers} worker processes died, perhaps for want of memory; use fewer --workers"
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()  # which they take as Ctrl-C: nothing half written is left
                raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals that end this process wait for the end of the block; processes that it starts hold them back as well.

    A worker that is still importing, or that has not got all of what it is to do, would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let the signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fabric_of(option: str, advice: str = "", **settings: Any) -> lightning_fabric.Fabric:
    """Fabric with these settings.

    Raises:
        UserError: The machine does not have what they ask for; the message names `option`, and ends in `advice`.
    """
    import lightning_fabric

    try:
        return lightning_fabric.Fabric(**settings)
    except (ImportError, RuntimeError, ValueError) as error:  # MisconfigurationException is a ValueError
        raise UserError(f"{option}: cannot be used here ({error}){advice}") from error


def end_with_launcher(fabric: lightning_fabric.Fabric) -> None:
    """End this process with the one that launched it, if it is a rank that Fabric, not a cluster, has launched."""
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if fabric.local_rank and environment is not None and not environment.creates_processes_externally:
        end_with_parent()
        atexit.register(end_surely)


def end_surely(seconds: int = EXIT_SECONDS) -> None:
    """Let the system end this process if it has not ended by itself after so many seconds.

    For a rank whose work is done: destroying a process group of gloo has hung where no thread of Python's could run
    (torch 2.3), and a rank but the first has nothing to say any more.
    """
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def end_with_parent() -> None:
    """End this process soon after its parent has ended, however that was: as if terminated, then at once."""
    parent, number = multiprocessing.parent_process(), os.getppid()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])  # a pipe that the system closes when the parent ends
        while parent is None and os.getppid() == number:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Worker:
    """What a worker process keeps between jobs."""

    work: Callable[[Any, Any], Any]
    prepare: Callable[[], Any]
    state: Any = None
    busy = stopped = False

    @classmethod
    def begin(cls, work: Callable[[Any, Any], Any], prepare: Callable[[], Any]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends the others
        signal.signal(signal.SIGTERM, cls.stop)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)  # see `_uninterrupted`
        end_with_parent()
        os.environ["OMP_NUM_THREADS"] = "1"  # the workers are the threads, also of a PyTorch imported later
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        cls.work, cls.prepare = staticmethod(work), staticmethod(prepare)

    @classmethod
    def stop(cls, *_: object) -> None:
        again, cls.stopped = cls.stopped, True
        if not cls.busy:
            os._exit(1)  # nothing to clean up, and no traceback of a process that was waiting
        # the parent asks, and then ends: a second interrupt would end what cleans up after the first
        if not again:
            raise KeyboardInterrupt

    @classmethod
    def do(cls, job: Any) -> Any:
        cls.busy = True
        try:
            if cls.stopped:
                raise KeyboardInterrupt
            # not in `begin`: an error there would be a broken pool, not the sentence that it is
            if cls.state is None:
                cls.state = cls.prepare()
            return cls.work(cls.state, job)
        finally:
            cls.busy = False
            if cls.stopped:
                os._exit(
                    1
                )  # half-written files are removed; the process that wanted the result may have ended
