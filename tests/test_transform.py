"""The textbook that models are compared with: exact inverses, true bytes, and the rate it was asked for."""

import numpy as np
import pytest
from conftest import tones

from snn_codec.cli import main
from snn_codec.errors import UserError
from snn_codec.evaluation import coders, results, transform
from snn_codec.evaluation.transform import FRAME, LENGTH, TOP, Textbook, TextbookCoder
from snn_codec.metrics import si_snr


@pytest.fixture(scope="module")
def textbook():
    return Textbook(transform.shipped_tables())


@pytest.mark.parametrize("samples", [1, FRAME - 1, FRAME, FRAME + 1, 5 * FRAME + 7])
def test_the_transform_gives_back_what_it_took_and_keeps_the_energy(samples):
    sound = np.random.default_rng(samples).standard_normal(samples)
    found = transform.mdct(sound)
    np.testing.assert_allclose(transform.inverse_mdct(found, samples), sound, atol=1e-12)
    assert np.square(found).sum() == pytest.approx(np.square(sound).sum())


def test_the_transform_is_the_sum_of_cosines():
    sound = np.random.default_rng(0).standard_normal(3 * FRAME)
    n, k = np.arange(2 * FRAME), 100
    frame = sound[: 2 * FRAME] * np.sin(np.pi * (n + 0.5) / (2 * FRAME))
    wanted = np.sqrt(2 / FRAME) * frame @ np.cos(np.pi / FRAME * (n + 0.5 + FRAME / 2) * (k + 0.5))
    assert transform.mdct(sound)[1, k] == pytest.approx(wanted)


def test_quantising_rounds_from_two_thirds():
    assert transform.quantised(np.array([[-1.68, -0.66, 0.66, 0.68, 1.66, 3.0]]), 1.0).tolist() == [
        [-2, 0, 0, 1, 1, 3]
    ]


def test_contexts_know_only_cells_before():
    random = np.random.default_rng(0)
    magnitudes = random.integers(0, 3, (4, 40))
    changed = magnitudes.copy()
    changed[2, 20] = 9
    differ = np.argwhere(transform.contexts(magnitudes) != transform.contexts(changed))
    assert len(differ) and all((frame, column) > (2, 20) for frame, column in differ.tolist())


@pytest.mark.parametrize("kbps", [0.3, 1.0, 2.6, 12.0])
def test_a_clip_is_decoded_from_its_bytes_and_meets_its_rate(textbook, kbps):
    clip = tones(LENGTH / 22050)[:LENGTH]
    room = int(kbps * 125 * LENGTH / 22050)
    code = textbook.encode(clip, room)
    assert 0.93 * room < len(code) <= room
    again = textbook.encode(0.05 * clip, room)
    assert abs(len(again) - len(code)) < 0.03 * room  # the step goes with the loudness
    assert si_snr(textbook.decode(code), clip) == pytest.approx(si_snr(textbook.decode(again), clip), abs=0.5)


def test_more_bytes_bring_more_decibels(textbook):
    clip = tones(LENGTH / 22050)[:LENGTH]
    found = [si_snr(textbook.decode(textbook.encode(clip, room)), clip) for room in (200, 600, 2000, 6000)]
    assert found == sorted(found) and found[0] > 0 and found[-1] > found[0] + 15


@pytest.mark.parametrize("samples", [0, 1, 100, FRAME, 3 * FRAME + 5])
def test_every_length_and_silence_come_back(textbook, samples):
    for sound in (np.zeros(samples), np.random.default_rng(0).standard_normal(samples) * 0.1):
        decoded = textbook.decode(textbook.encode(sound, 4000))
        assert decoded.shape == (samples,) and decoded.dtype == np.float32
        assert decoded.any() == (samples > 1 and sound.any())  # one sample is spread too thin


def test_magnitudes_above_the_tables_come_back(textbook):
    """One loud click in silence at the finest step."""
    sound = np.zeros(2 * FRAME)
    sound[700] = 0.9
    code = textbook.encode(sound, 100_000)
    number = code[4]
    values = transform.quantised(
        transform.mdct(sound) / np.sqrt(np.square(sound).mean()), transform.step_of(number)
    )
    assert np.abs(values).max() < TOP  # a click is spread out; a tone is not
    tone = np.sin(2 * np.pi * 1000 * np.arange(8 * FRAME) / 22050)
    code = textbook.encode(tone, 100_000)
    assert si_snr(textbook.decode(code), tone) > 40


def test_damage_is_noticed(textbook):
    code = bytearray(textbook.encode(tones(1.0), 500))
    for place in (0, 3, 4, 8, len(code) - 1):
        code[place] ^= 4
        with pytest.raises(ValueError, match="damaged"):
            textbook.decode(bytes(code))
        code[place] ^= 4
    with pytest.raises(ValueError, match="damaged"):
        textbook.decode(b"")


def test_tables_are_exact_probabilities():
    tables = transform.shipped_tables()
    assert tables.shape == (transform.N_TABLES, transform.CONTEXTS, TOP + 1)
    assert (tables > 0).all() and (tables.sum(-1, dtype=np.float64) == 1).all()


def test_it_is_a_row_of_an_evaluation(music, tmp_path):
    path = tmp_path / "a.json"
    assert main(["evaluate", "--data", str(music), "--model", "mdct:1.5", "--json", str(path)]) == 0
    rows = results.read(path)["clips"]
    assert len(rows) == 4 and all(1.4 < row["kbps"] <= 1.5 and row["si_snr"] > 5 for row in rows)
    for name in ("mdct:", "mdct:loud", "mdct:0", "mdct:99", "mdct:nan"):
        with pytest.raises(UserError, match=r"must be 0\.1 to 24 kbps"):
            coders.load(name)
    assert TextbookCoder("mdct:1.5").fingerprint != TextbookCoder("mdct:1.6").fingerprint


def test_a_step_can_be_asked_for_instead_of_bytes(textbook):
    sound = tones(3.0, seed=5)
    coarse, fine = (textbook.encode_at(sound, number) for number in (150, 100))
    assert len(coarse) < len(fine) and textbook.encode(sound, len(fine)) == fine
    assert si_snr(textbook.decode(fine), sound) > si_snr(textbook.decode(coarse), sound)
    assert len(textbook.encode_at(np.zeros(100), 100)) == transform.HEADER
