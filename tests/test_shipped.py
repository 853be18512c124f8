"""The shipped model does on the shipped recording what its card says, however it is run."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_codec import audio
from snn_codec.codec import Codec
from snn_codec.metrics import mel_distance, si_snr
from snn_codec.storage import spk

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def free():
    return Codec.load("free")


@pytest.fixture(scope="module")
def sound():
    return audio.read(DATA / "recording" / "bach-bwv846.flac")[0]


@pytest.fixture(scope="module")
def events(free, sound):
    return free.encode(sound, 22050)


def test_it_sounds_as_the_card_says(free, sound, events):
    assert si_snr(free.decode(events), sound) == pytest.approx(11.33, abs=0.1)
    assert free.fingerprint in (DATA / "checkpoints" / "free" / "README.md").read_text()


def test_its_bitstream_costs_what_the_card_says(free, events):
    """True bytes; the entropy model is worth a quarter of the dense cost and more on this recording."""
    file = io.BytesIO()
    spk.write(file, events, entropy_model=free.entropy_model)
    assert spk.read(io.BytesIO(file.getvalue()), entropy_model=free.entropy_model) == events
    assert events.kbps(len(file.getvalue())) == pytest.approx(2.390, abs=0.02)
    assert free.entropy_model.checkpoint == free.fingerprint


def test_a_recording_30_db_quieter_decodes_as_well(free, sound):
    quiet = sound * np.float32(10 ** (-30 / 20))
    assert si_snr(free.decode(free.encode(quiet, 22050)), quiet) == pytest.approx(11.33, abs=0.1)


def test_streamed_in_odd_blocks_the_events_are_identical(free, sound, events):
    cuts = [1, 3, 512, 70_001, 70_002, 300_000, 655_361]
    assert free.encode_blocks(np.split(sound, cuts), 22050) == events


def test_batches_and_threads_change_only_borderline_cells(free, sound, events):
    membranes = free.membranes(sound, 22050)
    threads = torch.get_num_threads()
    others = [free.encode(sound, 22050, batch_size=8)]
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            others.append(free.encode(sound, 22050))
    finally:
        torch.set_num_threads(threads)
    for other in others:
        differing = other.events != events.events
        assert differing.mean() <= 1e-5
        # in the residual form a unit that flips changes the drive of the later units of its step
        first = differing & (np.cumsum(differing, 0) == 1)
        assert (np.abs(membranes[first]) < 1e-3).all()


def test_decoders_cost_little_si_snr_and_gain_in_the_spectrum(free, sound, events):
    """On the shipped recording, as the README says of its piano: the same events, a smaller mel distance."""
    assert free.decoders == ("plain", "gan", "flow")
    plain = free.decode(events)
    for name, lost in (("gan", 0.5), ("flow", 0.2)):
        decoded = Codec.load("free", decoder=name).decode(events)
        assert si_snr(decoded, sound) > si_snr(plain, sound) - lost
        assert mel_distance(decoded, sound, 22050) < mel_distance(plain, sound, 22050) - 0.1
