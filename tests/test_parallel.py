"""Jobs in worker processes give what they give in one, in the same order."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import tones
from processes import dies, held_back, missing, state, times

from snn_codec import parallel
from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.parallel import Parallelism, Ranks, cores, free_cores, one_thread

ROOT = Path(__file__).parent.parent


def test_results_come_in_the_order_of_the_jobs():
    shares = []
    one, two = (
        list(Ranks(Parallelism(workers)).map(times, state, range(6), shares.append)) for workers in (1, 2)
    )
    assert [result for result, _ in one] == [result for result, _ in two] == [0, 10, 20, 30, 40, 50]
    assert {process for _, process in one} == {os.getpid()} and os.getpid() not in {p for _, p in two}
    assert shares == [share / 6 for share in range(1, 7)] * 2
    assert list(Ranks(Parallelism(3)).map(times, state, [])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_complaint_of_a_job_or_of_getting_ready_is_what_is_raised(workers):
    ranks = Ranks(Parallelism(workers))
    with pytest.raises(UserError, match="thirteen: brings bad luck"):
        list(ranks.map(times, state, [1, 13, 2]))
    with pytest.raises(UserError, match="no such model"):
        list(ranks.map(times, partial(missing, "x: no such model"), [1, 2]))


def test_a_worker_that_dies_is_a_sentence():
    with pytest.raises(UserError, match="of 2 worker processes died"):
        list(Ranks(Parallelism(2)).map(dies, state, [1, 2, 3]))


def test_a_worker_that_is_starting_is_not_interrupted():
    """It would print a traceback; the signal that ends it comes when it can take it."""
    ending, here = {signal.SIGINT, signal.SIGTERM}, signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for starting, working in Ranks(Parallelism(2)).map(held_back, state, range(4)):
        assert ending <= starting and not ending & working
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == here


def ended_by(number, folder, *names):
    """Start two workers, send a signal to their parent alone, and wait for all to end: what they said."""
    program = [sys.executable, str(ROOT / "tests" / "processes.py"), str(folder), *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True)
    awaited = 2 + ("quick" in names)
    while process.poll() is None and len([*folder.glob("*.begun"), *folder.glob("quick.txt")]) < awaited:
        time.sleep(0.02)
    process.send_signal(number)
    try:
        _, said = process.communicate(
            timeout=120
        )  # which ends when the last of them closes the pipe they share
    finally:
        for file in folder.glob("*.begun"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
    assert process.returncode != 0
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_workers_end_with_their_parent_and_leave_nothing_half_written(tmp_path, number):
    said = ended_by(number, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".begun"}
    assert ("KeyboardInterrupt" in said) == (number == signal.SIGINT)


def test_a_worker_that_cleans_up_is_not_interrupted_again(monkeypatch):
    monkeypatch.setattr(parallel._Worker, "busy", True)
    monkeypatch.setattr(parallel._Worker, "stopped", False)
    with pytest.raises(KeyboardInterrupt):
        parallel._Worker.stop(signal.SIGTERM, None)
    parallel._Worker.stop(signal.SIGTERM, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_a_worker_that_has_nothing_to_do_ends_as_well(tmp_path, number):
    ended_by(number, tmp_path, "quick", "slow")
    assert {path.name for path in tmp_path.iterdir()} == {"quick.begun", "quick.txt", "slow.begun"}


def test_a_rank_that_hangs_when_it_is_done_ends():
    code = (
        "import atexit, threading\nfrom snn_codec import parallel\n"
        "atexit.register(threading.Event().wait)\natexit.register(parallel.end_surely, 1)\nprint('done')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGALRM, "done\n", "")


def test_one_thread_is_for_the_block_alone():
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_cores_that_are_busy_are_not_free(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 8)
    for load, free in ((0.0, 8), (2.4, 6), (7.9, 1), (30.0, 1)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert free_cores() == free
    assert cores() >= 1


@pytest.mark.parametrize("numbers", [{"workers": 0}, {"devices": -1}, {"nodes": 0}])
def test_numbers_below_one_are_refused(numbers):
    with pytest.raises(UserError, match=f"--{next(iter(numbers))} .*1 or more"):
        Parallelism(**numbers)


def test_folders_are_coded_by_workers_as_by_one(checkpoint, tmp_path, capsys):
    """Identical files; an input that is not sound stops no other, and the status says so in the end."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, place in enumerate(("a.wav", "c.flac", "deep/d.wav")):
        soundfile.write(tmp_path / "in" / place, tones(1.0 + number, seed=number), 22050)
    (tmp_path / "in" / "b.wav").write_bytes(b"not sound")
    for workers in ("1", "2"):
        status = main(["encode", str(tmp_path / "in"), "-o", str(tmp_path / workers), "--model", str(checkpoint),
                       "--workers", workers, "--json"])  # fmt: skip
        out, err = capsys.readouterr()
        assert status == 2 and err.count("\n") == 1 and "b.wav: is not audio" in err
        rows = json.loads(out)["files"]
        assert [os.path.basename(row["input"]) for row in rows] == ["a.wav", "c.flac", "d.wav"]
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.spk"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()
    shutil.copy(tmp_path / "in" / "b.wav", tmp_path / "2" / "b.spk")
    assert main(["decode", str(tmp_path / "2"), "--model", str(checkpoint), "--workers", "2"]) == 2
    assert main(["decode", str(tmp_path / "1"), "--model", str(checkpoint)]) == 0
    for file in files:
        one, two = (soundfile.read((tmp_path / k / file).with_suffix(".wav"))[0] for k in "12")
        np.testing.assert_array_equal(one, two)
    assert "b.spk" in capsys.readouterr().err


def test_a_pipe_is_for_one_process(checkpoint, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", tones(0.5), 22050)
    assert (
        main(["encode", str(tmp_path / "a.wav"), "-o", "-", "--model", str(checkpoint), "--workers", "2"])
        == 2
    )
    assert "-: one recording goes through a pipe" in capsys.readouterr().err
