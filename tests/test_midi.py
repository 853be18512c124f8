import numpy as np
import pretty_midi
import pytest

from snn_codec import midi
from snn_codec.errors import UserError


def test_notes_come_back_in_order(tmp_path):
    score = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    piano, drums = pretty_midi.Instrument(0), pretty_midi.Instrument(0, is_drum=True)
    piano.notes = [pretty_midi.Note(80, 64, 2.0, 2.5), pretty_midi.Note(70, 60, 0.5, 3.0)]
    drums.notes = [pretty_midi.Note(100, 36, 0.0, 1.0)]
    score.instruments += [piano, drums]
    score.write(str(tmp_path / "a.mid"))
    notes = midi.read(tmp_path / "a.mid")
    np.testing.assert_allclose(notes.onset, [0.5, 2.0], atol=1e-3)
    np.testing.assert_allclose(notes.offset, [3.0, 2.5], atol=1e-3)
    assert notes.pitch.tolist() == [60, 64] and notes.velocity.tolist() == [70, 80]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), (b"", "not a MIDI"), (b"RIFFwhat", "not a MIDI")]
)
def test_what_is_not_midi_is_named(tmp_path, content, words):
    path = tmp_path / "bad.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.mid.*{words}"):
        midi.read(path)


def test_a_score_without_notes_is_named(tmp_path):
    pretty_midi.PrettyMIDI().write(str(tmp_path / "a.mid"))
    with pytest.raises(UserError, match="no notes"):
        midi.read(tmp_path / "a.mid")
