"""MIDI files as other programs write them: right onsets, or one sentence that says what is wrong."""

import struct

import numpy as np
import pytest

from snn_codec import midi
from snn_codec.analysis import notes
from snn_codec.errors import UserError

END = b"\0\xff\x2f\0"
NAME = b"\0\xff\x03\x04Trk1"
FAST = b"\xff\x51\x03\x03\xd0\x90"  # 0.25 s a beat
HALF, BEAT = b"\x81\x70", b"\x83\x60"  # 240 and 480 ticks


def file(*tracks, division=480, kind=1, header=b""):
    data = b"MThd" + struct.pack(">IHH", 6 + len(header), kind, len(tracks))
    data += division.to_bytes(2, "big") if isinstance(division, int) else division
    return data + header + b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in tracks)


def quavers(count=4, channel=0):
    """Notes every 240 ticks, one after the other."""
    track = b"\0"
    for number in range(count):
        track += (
            bytes([0x90 | channel, 60 + number, 64]) + HALF + bytes([0x80 | channel, 60 + number, 0]) + b"\0"
        )
    return track[:-1] + END


def tempo_at(*places):
    return b"".join(delta + event for delta, event in places) + END


@pytest.fixture
def onsets(tmp_path):
    def read(data):
        path = tmp_path / "a.mid"
        path.write_bytes(data)
        exact = notes.read(path)
        np.testing.assert_array_equal(exact.onset / exact.per_second, midi.read(path).onset)
        return midi.read(path).onset.tolist()

    return read


@pytest.mark.parametrize("place", [0, 1, 2])
def test_tempo_changes_count_in_every_track(onsets, place):
    tracks = [NAME + END, quavers()]
    tracks.insert(
        place, tempo_at((b"\0", b"\xff\x51\x03\x06\x1a\x80"), (HALF, FAST))
    )  # 0.4 s, then 0.25 s a beat
    assert onsets(file(*tracks)) == pytest.approx([0, 0.2, 0.325, 0.45])


def test_tempo_changes_of_several_tracks_are_one_list(onsets):
    late, early = tempo_at((BEAT, b"\xff\x51\x03\x0f\x42\x40")), tempo_at((b"\0", FAST))
    assert onsets(file(late, early, quavers(5))) == pytest.approx([0, 0.125, 0.25, 0.75, 1.25])


def test_the_last_tempo_of_a_tick_counts_and_none_is_passed_over(onsets):
    track = tempo_at((b"\0", b"\xff\x51\x03\0\0\0"), (b"\0", b"\xff\x51\x03\x0f\x42\x40"), (b"\0", FAST))
    assert onsets(file(track, quavers(2))) == pytest.approx([0, 0.125])


def test_a_note_without_a_length_keeps_its_onset(onsets, tmp_path):
    track = b"\0\x90\x3c\x40\0\x3c\0" + BEAT + b"\x3c\x40" + BEAT + b"\x3c\0" + END
    assert onsets(file(track)) == [0, 0.5]
    assert midi.read(tmp_path / "a.mid").offset.tolist() == [0, 1]


def test_a_meta_event_does_not_end_the_running_status_of_a_channel(onsets, tmp_path):
    """The standard says that it does, but files go on, and other readers with them."""
    track = b"\0\x90\x3c\x40" + HALF + b"\xff\x01\x01A" + HALF + b"\x3c\0\0\x40\x40" + BEAT + b"\x40\0" + END
    assert onsets(file(track)) == [0, 0.5]
    assert midi.read(tmp_path / "a.mid").offset.tolist() == [0.5, 1]


def test_a_note_that_never_ends_lasts_to_the_end_of_its_track(onsets, tmp_path):
    assert onsets(file(b"\0\x90\x3c\x40" + BEAT + END[1:])) == [0]
    assert midi.read(tmp_path / "a.mid").offset.tolist() == [0.5]


@pytest.mark.parametrize(
    ("values", "down"), [(b"\x7f\0", [[0.0, 0.5]]), (b"\0\x7f", [[0.0, 0.5], [0.5, 1.0]])]
)
def test_changes_of_the_pedal_at_one_tick_count_in_their_order(tmp_path, values, down):
    first, second = (bytes([0xB0, 64, value]) for value in values)
    track = b"\0\x90\x3c\x40\0\xb0\x40\x7f" + BEAT + first + b"\0" + second + BEAT + b"\x90\x3c\0" + END
    (tmp_path / "a.mid").write_bytes(file(track))
    score = notes.read(tmp_path / "a.mid")
    assert (score.pedal / score.per_second).tolist() == down
    again = notes.Score.from_pretty_midi(score.to_pretty_midi())
    assert (again.pedal / again.per_second).tolist() == down


def test_a_note_struck_again_before_its_end_is_two(onsets, tmp_path):
    """The new note's start stands before the old one's end, at the same tick."""
    track = b"\0\x90\x3c\x40" + BEAT + b"\x3c\x50\0\x3c\0" + BEAT + b"\x3c\0" + END
    assert onsets(file(track)) == [0, 0.5]
    found = midi.read(tmp_path / "a.mid")
    assert found.offset.tolist() == [0.5, 1] and found.velocity.tolist() == [64, 80]


def test_a_note_that_never_ends_keeps_its_onset(onsets):
    assert onsets(file(b"\0\x90\x3c\x40" + BEAT + b"\x3e\x40" + HALF + b"\x3e\0" + END)) == [0, 0.5]


def test_maps_has_32767_ticks_a_beat_and_goes_on_for_hours(onsets):
    hour = b"\xff\xff\xff\x7f"  # 2^28 - 1 ticks at 32767 a beat and 0.5 s a beat: 1.14 hours
    track = b"\0\x90\x3c\x40" + hour + b"\x3c\0" + hour + b"\x3e\x40\x60\x3e\0" + END
    assert onsets(file(track, division=32767)) == pytest.approx([0, 2 * (2**28 - 1) / 32767 / 2])


def test_a_file_of_a_hundred_hours_is_damaged(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(file(b"\0\x90\x3c\x40" + b"\xff\xff\xff\x7f\x3e\x40" * 4 + END, division=100))
    with pytest.raises(UserError, match=r"a\.mid: would last 1491 hours, so it is damaged"):
        midi.read(path)


@pytest.mark.parametrize(
    "odd",
    [
        b"\0\xff\x59\x02\x0f\x05",  # fifteen sharps
        b"\0\xff\x59\0",
        b"\0\xff\x58\x04\0\xff\0\0",  # 0/2^255
        b"\0\xff\x58\x01\x04",
        b"\0\xff\x51\x03\x07\xa1\x20\0\xff\x7e\x02ab",  # a meta event that nobody knows
        b"\0\xff\x01\x03\xff\xfe\x80",  # text in no encoding
        b"\0\xf0\x03abc\0\xf7\x02de",  # system exclusive
        b"\0\xb0\x40\xff",  # a data byte above 127
        b"\0\xc0\x80\0\xd0\x01\0\xe0\x01\x02\0\xa0\x3c\x40",
    ],
)
def test_one_odd_event_does_not_cost_the_file(onsets, odd):
    assert onsets(file(odd + quavers())) == pytest.approx([0, 0.25, 0.5, 0.75])


def test_a_pedal_byte_above_127_is_down(tmp_path):
    (tmp_path / "a.mid").write_bytes(file(b"\0\xb0\x40\xff" + quavers()))
    assert len(notes.read(tmp_path / "a.mid").pedal) == 1


@pytest.mark.parametrize("channel", [0, 1, 8, 10, 15])
def test_notes_of_every_channel_but_that_of_drums_are_read(onsets, channel):
    assert onsets(file(quavers(2, channel))) == [0, 0.25]


def test_what_follows_the_end_of_a_track_is_not_read(onsets):
    assert onsets(file(quavers(2) + quavers(3))) == [0, 0.25]


def test_an_empty_track_has_no_notes(onsets):
    with pytest.raises(UserError, match="holds no notes"):
        onsets(file(b""))


def test_drums_are_no_notes(onsets):
    assert onsets(file(quavers(2), quavers(4, channel=9))) == [0, 0.25]


@pytest.mark.parametrize(
    ("division", "second"),
    [
        (bytes([256 - 25, 40]), 1000),
        (bytes([256 - 30, 80]), 2400),
        (bytes([256 - 29, 100]), 30000 / 1001 * 100),
    ],
)
def test_ticks_may_be_parts_of_a_frame(onsets, division, second):
    assert onsets(file(tempo_at((b"\0", FAST)), quavers(2), division=division)) == pytest.approx(
        [0, 240 / second]
    )


def test_what_is_wrapped_or_has_more_in_it_is_read(onsets):
    data = file(quavers(2))
    alien = data[:14] + b"XFIH" + struct.pack(">I", 3) + b"abc" + data[14:]
    for found in (
        data + b"\0" * 100,
        b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + data,
        alien,
        data[:14] + b"XFIH" + struct.pack(">I", 2**24) + bytes(2**24) + data[14:],
        file(quavers(2), header=b"more"),
    ):
        assert onsets(found) == [0, 0.25]


@pytest.mark.parametrize("size", range(0, 60, 7))
def test_a_file_cut_short_is_named(tmp_path, size):
    path = tmp_path / "a.mid"
    path.write_bytes(file(NAME + quavers())[:size])
    with pytest.raises(UserError, match=r"a\.mid: is not a MIDI file \(.*\); export it again"):
        midi.read(path)


@pytest.mark.parametrize(
    "track", [b"", b"\0\x3c\x40", b"\0\x90\x3c", b"\x80\x80\x80\x80\x80\0", b"\0\xff\x03\x20ab"]
)
def test_a_damaged_track_is_named(tmp_path, track):
    path = tmp_path / "a.mid"
    path.write_bytes(file(track))
    with pytest.raises(UserError, match=r"a\.mid: (is not a MIDI file|holds no notes)"):
        midi.read(path)


def test_no_bytes_at_all_lead_to_a_traceback(tmp_path):
    random, good = np.random.default_rng(0), file(NAME + tempo_at((b"\0", FAST)), quavers())
    for _ in range(300):
        data = bytearray(good)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        (tmp_path / "a.mid").write_bytes(data)
        try:
            found = midi.read(tmp_path / "a.mid")
        except UserError as error:
            assert str(error).startswith(str(tmp_path / "a.mid"))
        else:
            assert (
                len(found.onset) and (np.diff(found.onset) >= 0).all() and (found.offset >= found.onset).all()
            )
