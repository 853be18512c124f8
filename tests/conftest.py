"""Small models and recordings that the tests share."""

from __future__ import annotations

import csv
import os
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

# Before anything reads it, and for the processes that tests start: tests run side by side, a core each.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings as hypothesis_settings

from snn_codec import settings as config
from snn_codec.codec import Codec

# The same examples each time, however slow the machine is.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.load_profile("repeatable")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("lava") and not find_spec("lava"):
        pytest.skip("runs in .venv-lava only, which has Lava")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Whatever ran before, and in which process."""
    torch.manual_seed(0)


SMALL = config.Spectral(width=16, blocks=1, kernel=3, expansion=2)


def in_this_process(command, **_):
    """A run of a study as its worker process does it, done when this returns; in the place of `subprocess.Popen`."""
    from snn_codec.surrogate_study import worker

    status = worker.main(Path(command[-1]))
    return SimpleNamespace(poll=lambda: status, returncode=status, stdin=None)


def small_model(**changes) -> config.Model:
    settings = {
        "encoder": SMALL,
        "decoder": SMALL,
        "bottleneck": config.Spiking(groups=4),
        "margin_steps": 8,
    }
    return config.Model(**(settings | changes))


def settled(model: config.Model, seed: int = 0) -> Codec:
    """A codec with random weights whose batch norms have seen audio, so that its units fire about half the time."""
    torch.manual_seed(seed)
    codec = Codec(model)
    audio = torch.randn(4, 64 * model.hop, generator=torch.Generator().manual_seed(seed))
    for _ in range(20):
        codec(audio * torch.linspace(0.1, 1, 4)[:, None])
    return codec.eval()


def tones(seconds: float, sample_rate: int = 22050, seed: int = 0) -> np.ndarray:
    """Decaying harmonic notes at random times: float32 `[samples]`, piano-like enough for a test."""
    random = np.random.default_rng(seed)
    audio = np.zeros(round(seconds * sample_rate))
    for onset in np.arange(0, seconds, 0.2):
        pitch = 110 * 2 ** (random.integers(0, 36) / 12)
        note = audio[round(onset * sample_rate) :][: 2 * sample_rate]
        time = np.arange(len(note)) / sample_rate
        for harmonic in range(1, 5):
            note += 0.1 * np.sin(2 * np.pi * pitch * harmonic * time) / harmonic**2 * np.exp(-4 * time)
    return audio.astype(np.float32)


@pytest.fixture
def own_port(monkeypatch):
    """Ranks that the test launches meet at a free port below those that the system hands out to anybody."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            monkeypatch.setenv("MASTER_PORT", str(port))
            return


@pytest.fixture
def drawn(monkeypatch):
    """The figures that the test saves, in order."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    saved, save = [], figure.savefig
    monkeypatch.setattr(
        figure, "savefig", lambda one, *rest, **how: (saved.append(one), save(one, *rest, **how))
    )
    return saved


@pytest.fixture(scope="session")
def codec() -> Codec:
    return settled(small_model())


@pytest.fixture(scope="session")
def checkpoint(codec, tmp_path_factory):
    """Folder of a saved small codec."""
    folder = tmp_path_factory.mktemp("checkpoint") / "small"
    codec.save(folder)
    return folder


@pytest.fixture(scope="session")
def prompted(tmp_path_factory):
    """Folder of a small model with levels, whose density falls with the level."""
    codec = settled(small_model(bottleneck=config.Spiking(groups=1), levels=16))
    with torch.no_grad():
        down = torch.linalg.lstsq(codec.bottleneck.encode_weight, -torch.ones(80)).solution
        codec.before.prompt += torch.linspace(0, 6, 16)[:, None] * down
    folder = tmp_path_factory.mktemp("checkpoint") / "prompted"
    codec.save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """A folder in no particular layout with four recordings of 7 s."""
    folder = tmp_path_factory.mktemp("music")
    for number in range(4):
        soundfile.write(folder / f"piece{number}.wav", tones(7.0, seed=number), 22050)
    return folder


@pytest.fixture
def maestro(tmp_path):
    """Three recordings in the MAESTRO layout, at three rates."""
    rows = []
    for number, split in enumerate(("train", "train", "validation")):
        name = f"2004/piece{number}.flac"
        (tmp_path / "2004").mkdir(exist_ok=True)
        rate = (22050, 44100, 22050)[number]
        soundfile.write(tmp_path / name, tones(7.0 + number, rate, seed=number), rate)
        rows.append({"split": split, "audio_filename": name, "canonical_composer": "J. S. Bäch"})
    with open(tmp_path / "maestro-v3.0.0.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path
