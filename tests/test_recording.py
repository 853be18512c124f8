"""The recording that the repository ships agrees with its MIDI."""

import importlib.util
from pathlib import Path

import numpy as np
from scipy.signal import stft

from snn_codec import audio, midi

FOLDER = Path(__file__).parent.parent / "data" / "recording"
SOUND = FOLDER / "bach-bwv846.flac"
NOTES = midi.read(FOLDER / "bach-bwv846.mid")


def script():
    spec = importlib.util.spec_from_file_location("make_recording", FOLDER.parent / "make_recording.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_what_the_readme_says():
    info = audio.info(SOUND)
    assert (info.sample_rate, info.channels) == (22050, 1)
    assert 20 <= info.samples / 22050 <= 40
    assert 0.5 < np.abs(audio.read(SOUND)[0]).max() < 1
    assert "CC BY 3.0" in (FOLDER / "LICENSE.txt").read_text()


def test_the_notes_are_those_of_the_score():
    assert len(NOTES.onset) == 19 * 16
    names = "C4 E4 G4 C5 E5 G4 C5 E5".split()
    octave = {"C": 0, "E": 4, "G": 7}
    expected = [12 * (int(name[1]) + 1) + octave[name[0]] for name in names]
    assert NOTES.pitch[:16].tolist() == expected * 2
    assert (NOTES.pitch.min(), NOTES.pitch.max()) == (43, 81)  # G2 in bar 18, A5 in bar 5


def test_the_script_makes_the_shipped_midi():
    made = sorted(script().performance().instruments[0].notes, key=lambda note: note.start)
    assert [note.pitch for note in made] == NOTES.pitch.tolist()
    assert [note.velocity for note in made] == NOTES.velocity.tolist()
    np.testing.assert_allclose([note.start for note in made], NOTES.onset, atol=0.001)


def test_the_sound_rises_where_the_midi_says():
    sound, rate = audio.read(SOUND)
    hop = 64
    spectrum = np.abs(stft(sound, rate, nperseg=256, noverlap=256 - hop)[2])
    rise = np.maximum(0, np.diff(np.log(spectrum + 1e-3), axis=1)).sum(0)
    places = (NOTES.onset * rate / hop).astype(int)
    lags = [np.argmax(rise[place - 10 : place + 11]) - 10 for place in places if 10 <= place < len(rise) - 11]
    seconds = np.array(lags) * hop / rate
    assert abs(np.median(seconds)) < 0.006
    # unrelated onsets also have a median lag near 0, but a median distance of half the window: 14 ms
    assert np.median(np.abs(seconds)) < 0.006
