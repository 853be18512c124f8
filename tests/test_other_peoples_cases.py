"""Every numbered case of the report on other people's files and habits: what was, and what is measured now.

`python tests/test_other_peoples_cases.py` prints the table of docs/other-peoples-files.md. Every input is made here or
in the test modules that this one imports.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import soundfile
import test_other_peoples_files as theirs
import test_other_peoples_tables as tables
from conftest import settled, small_model, tones
from processes import room_for
from rasters import matrix, raster
from test_full_disk import KINDS, RECORDINGS
from test_other_peoples_habits import NAMES, streamed
from test_other_peoples_midi import END, FAST, HALF, NAME, file, quavers, tempo_at
from test_parallel import ended_by
from test_surrogates import GAUSS

from snn_codec import audio, checkpoints, corpus, midi
from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.files import exclusive
from snn_codec.storage import h5

pytestmark = pytest.mark.once
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "other-peoples-files.md"


class Place:
    """A folder of one's own with a small model in it."""

    def __init__(self, folder: Path):
        self.folder, self.model = folder, folder / "small"
        settled(small_model()).save(self.model)

    def sound(self, name: str = "a.wav", seconds: float = 1.0) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tones(seconds), 22050)
        return path

    def run(self, command: str, *arguments: object, model: object = None) -> tuple[int, str, str]:
        """Exit status, output and complaints of a command, without this folder's name."""
        out, err = io.StringIO(), io.StringIO()
        chosen = [] if model is False else ["--model", str(model or self.model)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*command.split(), *map(str, arguments), *chosen])
        return status, out.getvalue(), self.bare(err.getvalue())

    def bare(self, text: object) -> str:
        text = str(text).replace(f"{self.folder}/", "").replace(str(self.folder), "folder")
        return text.removeprefix("snn-codec: ").strip()

    def heard(self, content: bytes, name: str = "theirs") -> str:
        """How many seconds are read of these bytes, or why not."""
        path = self.folder / name
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", audio.IncompleteWarning)
            try:
                return f"{sum(map(len, audio.read_blocks(path))) / audio.info(path).sample_rate:.1f} s"
            except audio.Incomplete:
                taken = sum(map(len, audio.read_blocks(path, incomplete_ok=True)))
                rate = audio.info(path, incomplete_ok=True).sample_rate
                return f"refused; {taken / rate:.1f} s with `--allow-incomplete`"


def heard_of(place: Place, number: str, *names: str) -> str:
    chosen = names or [name for name, case in theirs.CASES.items() if case.number == number]
    found: dict[str, list[str]] = {}
    for name in chosen:
        found.setdefault(place.heard(theirs.CASES[name].make()), []).append(name)
    return "; ".join(f"{', '.join(names)}: {result}" for result, names in found.items())


def mp3(place: Place) -> str:
    return heard_of(place, "18.1")


def cut_off(place: Place) -> str:
    whole = {name.split()[-1]: case.make for name, case in theirs.CASES.items() if name.startswith("half of")}
    whole |= {kind: theirs.half(kind) for kind in ("NIST", "VOC", "AVR", "SVX")}
    found = [place.heard(make()) for make in whole.values()]
    refused = sum("refused" in result for result in found)
    return f"half of {', '.join(whole)}: {refused} of {len(found)} refused, and taken if asked"


def tempo(place: Place) -> str:
    path = place.folder / "a.mid"
    second = tempo_at((b"\0", b"\xff\x51\x03\x06\x1a\x80"), (HALF, FAST))
    path.write_bytes(file(NAME + END, quavers(), second))
    return "onsets at " + ", ".join(f"{onset:g}" for onset in midi.read(path).onset) + " s"


def table_kinds(place: Place) -> str:
    done = []
    for kind, (name, data, *_) in (tables.READ | tables.REFUSED).items():
        folder = place.folder / kind.replace(" ", "-")
        for recording in ("2004/etude é", "2004/b", "2006/c"):
            (folder / recording).parent.mkdir(exist_ok=True, parents=True)
            soundfile.write(folder / f"{recording}.wav", np.zeros(100), 22050)
        (folder / name).write_bytes(data)
        try:
            done.append(len(corpus.recordings(folder, "test")) == 1)
        except UserError:
            done.append(None)
    assert False not in done
    return f"{done.count(True)} kinds of tables read, {done.count(None)} refused by name, none passed over"


def plain_folder(place: Place) -> str:
    for number in range(3):
        place.sound(f"music/{number}.wav", 6.0)
    status, out, err = place.run("evaluate", "--data", place.folder / "music")
    assert status == 0, err
    return re.search(r"on (all of .*?: \d+ clips)", place.bare(out))[1]


def cancelling(place: Place) -> str:
    sound = tones(1.0)
    soundfile.write(place.folder / "b.wav", np.stack([sound, -sound], 1), 22050)
    status, _, err = place.run("encode", place.folder / "b.wav")
    assert status == 0
    return f"warned: {err.splitlines()[0]}"


def index_bits(place: Place) -> str:
    print_of = json.loads((checkpoints.find("rvq") / "config.json").read_text())["fingerprint"]
    h5.write(place.folder / "a.h5", {"one": matrix(raster(80, 60, 0.5), fingerprint=print_of)})
    return refusal(place.run("export spikes", place.folder / "a.h5", "--to", "shd", model=False))


def refusal(found: tuple[int, str, str]) -> str:
    status, _, err = found
    assert status == 2 and len(err.splitlines()) == 1, found
    return f"refused: {err}"


def pipes_wav(place: Place) -> str:
    chosen = [case for case in theirs.CASES.values() if case.number == "18.8" and case.seconds]
    found = {place.heard(case.make()) for case in chosen}
    return f"{len(chosen)} kinds of made-up sizes read whole: {', '.join(found)}"


def flac(place: Place) -> str:
    return heard_of(place, "18.9")


def maps(place: Place) -> str:
    hour = b"\xff\xff\xff\x7f"
    track = b"\0\x90\x3c\x40" + hour + b"\x3c\0" + hour + b"\x3e\x40\x60\x3e\0" + END
    (place.folder / "a.mid").write_bytes(file(track, division=32767))
    return f"read: a note begins at {midi.read(place.folder / 'a.mid').onset[-1]:.0f} s"


def seal(place: Place) -> str:
    path, again = place.folder / "a.h5", place.folder / "again.h5"
    h5.write(path, {"one": matrix(raster(12, 60, 0.1))})
    h5py.File(path, "a").close()
    status, out, _ = place.run("info", path, model=False)
    assert status == 0 and "its seal is broken" in out
    assert place.run("convert", "--reseal", path, again, model=False)[0] == 0
    assert place.run("info", again, model=False)[0] == 0
    return "`info` says that its seal is broken, `convert --reseal` makes it readable"


def links(place: Place) -> str:
    place.sound("far/a.wav")
    (place.folder / "in").mkdir()
    (place.folder / "in" / "link").symlink_to(place.folder / "far")
    assert place.run("encode", place.folder / "in", "-o", place.folder / "run.v1")[0] == 0
    (made,) = (place.folder / "run.v1").rglob("*.spk")
    return f"the link is followed, and the folder made: {place.bare(made)}"


def terminated(place: Place) -> str:
    import signal

    for number in (signal.SIGTERM, signal.SIGKILL):
        folder = place.folder / number.name
        folder.mkdir()
        ended_by(number, folder)  # which waits until the last of them has ended
        assert {path.suffix for path in folder.iterdir()} == {".begun"}
    return "after SIGTERM and kill -9 of the parent: no worker left, nothing half-written"


def full_disk(place: Place) -> str:
    said = 0
    for kind, write in KINDS.items():
        with room_for(100), contextlib.suppress(ImportError), pytest.raises(UserError) as caught:
            write(place.folder / f"full.{kind}", kind, RECORDINGS)
            raise AssertionError(kind)
        said += "cannot be written, the file is larger" in str(caught.value)
    assert not list(place.folder.glob("*full*"))
    return f"one sentence and no file left in {said} of {len(KINDS)} formats"


def names(place: Place) -> str:
    content = place.sound(seconds=0.3).read_bytes()
    (place.folder / "in").mkdir()
    for name in NAMES:
        (place.folder / "in" / f"{name}.wav").write_bytes(content)
    status, _, err = place.run("encode", place.folder / "in")
    assert (status, err) == (0, "")
    return f"{len(list((place.folder / 'in').glob('*.spk')))} of {len(NAMES)} odd names encoded"


def forced(place: Place) -> str:
    pipe, got = place.folder / "pipe.spk", []
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    listener.start()
    (place.folder / "link.spk").symlink_to(place.folder / "true.spk")
    for name in ("pipe", "link"):
        source = place.sound(f"{name}.wav", 0.3)
        assert place.run("encode", source, "-o", place.folder / f"{name}.spk", "--force")[0] == 0
    listener.join(20)
    assert pipe.is_fifo() and got[0] and (place.folder / "true.spk").is_file()
    return "the FIFO is written to, the link is followed; both stay"


def no_overlap(place: Place) -> str:
    track = b"\x87\xc0\x00\x90\x3c\x40\x83\x60\x3c\0" + END  # 128 beats in
    (place.folder / "a.mid").write_bytes(file(track))
    return refusal(place.run("analyse", place.sound(), "-o", place.folder / "report"))


def study_worker(place: Place) -> str:
    folder = place.folder / "cell"
    folder.mkdir()
    settings = config.to_dict(config.Config(small_model(levels=4)))
    settings["training"]["sparsity"]["objective"] = "fill"  # which has no levels: refused when it has begun
    place.sound("music/a.wav", 6.0)
    content = {
        "config": settings,
        "data": [str(place.folder / "music")],
        "init_from": None,
        "accelerator": "cpu",
    }
    (folder / "cell.json").write_text(json.dumps(content))
    with subprocess.Popen(
        [sys.executable, "-m", "snn_codec.surrogate_study.worker", str(folder)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        said = process.stderr.read()
        status = process.wait()
    assert "Fatal" not in said and "Traceback" not in said, said
    assert "fill has one aim" in said and not (folder / "result.json").exists()
    return f"exit status {status}, with a reason and no fatal error"


def locks(place: Place) -> str:
    with (
        exclusive(place.folder / "lock"),
        pytest.raises(UserError) as caught,
        exclusive(place.folder / "lock"),
    ):
        pass
    command = f"{sys.executable} -m snn_codec.cli info {ROOT}/tests/golden/v3.spk > /dev/full"
    found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 1
    return (
        f"{place.bare(caught.value)}; `info > /dev/full`: {found.stderr.strip().removeprefix('snn-codec: ')}"
    )


def by_itself(place: Place) -> str:
    events = place.folder / "events"
    events.mkdir()
    before, checkpoints.FOLDERS = checkpoints.FOLDERS, (place.folder / "models",)
    try:
        for seed, name in enumerate(("one", "two")):
            settled(small_model(), seed).save(place.folder / "models" / name)
            place.run("encode", place.sound(), "-o", events / f"{name}.spk", model=name)
        assert place.run("decode", events, "-o", place.folder / "out", model=False)[0] == 0
    finally:
        checkpoints.FOLDERS = before
    return f"{len(list((place.folder / 'out').iterdir()))} of 2 files decoded, each by its own model"


def through_pipes(place: Place) -> str:
    before, target = sys.stdin, place.folder / "p.spk"
    sys.stdin = io.TextIOWrapper(io.BytesIO(streamed(place.sound().read_bytes())))
    try:
        assert place.run("encode", "-", "-o", target)[0] == 0
    finally:
        sys.stdin = before
    command = [
        sys.executable,
        "-m",
        "snn_codec.cli",
        "decode",
        str(target),
        "-o",
        "-",
        "--model",
        str(place.model),
    ]
    found = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return f"WAV stream in, WAV stream out: {soundfile.info(io.BytesIO(found.stdout)).duration:.1f} s"


def without_surrogate(place: Place) -> str:
    (place.folder / "their_surrogate.py").write_text(GAUSS)
    sys.path.insert(0, str(place.folder))
    try:
        spiking = config.Spiking(groups=4, surrogate="their_surrogate:gauss")
        settled(small_model(bottleneck=spiking)).save(place.folder / "other")
    finally:
        sys.path.remove(str(place.folder))
        sys.modules.pop("their_surrogate", None)
    for command, name in (("encode", "a.wav"), ("decode", "a.spk")):
        source = place.sound() if command == "encode" else place.folder / name
        status, _, err = place.run(command, source, "--force", model=place.folder / "other")
        assert status == 0, err
    assert "their_surrogate" not in sys.modules
    return "encodes and decodes where the surrogate's module is missing"


def speed(place: Place) -> str:
    status, out, _ = place.run("encode", place.sound())
    text = re.sub(r"\d[\d.]*", "N", " ".join(out.split()))
    return "printed: " + text[text.index("N x real time") :]


class Case(NamedTuple):
    """A case of the report: its number, what was done, what came of it then, and what measures it now."""

    number: int
    done: str
    before: str
    now: Callable[[Place], str]


CASES = [
    Case(1, "MP3 with fewer samples than announced", "20 s of half a file, stale samples, 3.7 of 20 s", mp3),
    Case(2, "files cut off in the middle", "AIFF, AU, W64, RF64, Ogg, Opus taken as whole", cut_off),
    Case(3, "tempo changes in another MIDI track", "onsets at 0, 0.25, 0.5, 0.75 s", tempo),
    Case(4, "MAESTRO tables that are not comma-separated UTF-8", "split by hash: test pieces trained on", table_kinds),
    Case(5, "`evaluate` on a plain folder", "a third of it measured", plain_folder),
    Case(6, "stereo whose channels cancel", "coded as silence", cancelling),
    Case(7, "RVQ's index bits to a simulator", "exported as spikes", index_bits),
    Case(8, "WAV and others from a pipe", "refused", pipes_wav),
    Case(9, "FLAC of unknown length", "died at a seek", flac),
    Case(10, "MIDI of 32767 ticks a beat", "refused", maps),
    Case(11, "an .h5 that another tool opened in mode a", "unreadable for good", seal),
    Case(12, "links to folders; an output folder with a dot", "skipped; taken for a file", links),
    Case(13, "the parent of workers is ended", "workers went on", terminated),
    Case(14, "disk full", "segmentation faults, tracebacks, files left", full_disk),
    Case(15, "names with line breaks, not UTF-8", "traceback, the rest not done", names),
    Case(16, "`--force` onto a FIFO, onto a link", "replaced by a file", forced),
    Case(17, "`analyse` where no note overlaps the sound", "traceback after all the encoding", no_overlap),
    Case(18, "a worker of `compare-surrogates` ends", "Fatal Python error", study_worker),
    Case(19, "two at work in one folder; a full stdout", "no lock; traceback", locks),
    Case(20, "a folder of files from two models", "the first written only", by_itself),
    Case(21, "`encode -` and `decode -o -`", "refused", through_pipes),
    Case(22, "a checkpoint whose surrogate is missing", "refused", without_surrogate),
    Case(23, "the speed that is printed", "with the start-up, without a word", speed),
]  # fmt: skip


def line(case: Case, folder: Path) -> str:
    now = case.now(Place(folder)).replace("|", "\\|")
    return f"| {case.number} | {case.done} | {case.before} | {now} |"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.number))
def test_the_page_says_what_is_measured(tmp_path, case):
    pytest.importorskip("av")
    assert line(case, tmp_path) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_every_case():
    numbers = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert numbers == [str(case.number) for case in CASES] == [str(n + 1) for n in range(23)]


if __name__ == "__main__":
    print("| case | what | before | now |\n|---|---|---|---|")
    for each in [case for case in CASES if str(case.number) in (sys.argv[1:] or str(case.number))]:
        with tempfile.TemporaryDirectory() as temporary:
            print(line(each, Path(temporary)), flush=True)
