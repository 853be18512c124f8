"""Notes on the grid, against times computed with fractions."""

from fractions import Fraction
from pathlib import Path

import mido
import numpy as np
import pytest
from rasters import matrix

from snn_codec import midi
from snn_codec.analysis import notes
from snn_codec.errors import UserError

RECORDING = Path(__file__).parent.parent / "data" / "recording" / "bach-bwv846.mid"
RATE, HOP = 22050, 512


def write(path, messages, tempos=(), resolution=480):
    """A file from (tick, message); tempos are (tick, microseconds a beat)."""
    messages = [*messages, *((tick, mido.MetaMessage("set_tempo", tempo=tempo)) for tick, tempo in tempos)]
    track, last = mido.MidiTrack(), 0
    for tick, message in sorted(messages, key=lambda item: item[0]):
        track.append(message.copy(time=tick - last))
        last = tick
    file = mido.MidiFile(ticks_per_beat=resolution)
    file.tracks.append(track)
    file.save(path)
    return path


def note(tick, length, pitch, velocity=64):
    return [
        (tick, mido.Message("note_on", note=pitch, velocity=velocity)),
        (tick + length, mido.Message("note_off", note=pitch)),
    ]


def pedal(tick, value):
    return tick, mido.Message("control_change", control=64, value=value)


def test_three_hours_land_in_the_right_step(tmp_path):
    """Onsets exactly at the borders of steps, one every 10 s, where a float may fall on either side."""
    # at 512 / 22050 s a beat is not a whole number of microseconds, so borders come where both grids meet
    tempo, resolution = 640_000, 441  # a tick is 0.64 / 441 s = 32 samples: 16 ticks are one step
    starts = [16 * 430 * number for number in range(1000)]
    path = write(
        tmp_path / "a.mid", sum((note(tick, 8, 60) for tick in starts), []), [(0, tempo)], resolution
    )
    score = notes.read(path)
    steps = score.grid(430 * 1000, RATE, HOP).onset
    assert steps.tolist() == [430 * number for number in range(1000)]
    early = score.shifted(-1).grid(430 * 1000, RATE, HOP).onset  # a microsecond before the border
    assert early.tolist() == [430 * number - 1 for number in range(1, 1000)]


def test_tempo_changes_are_exact(tmp_path):
    random = np.random.default_rng(0)
    tempos, tick = [(0, 500_000)], 0
    for _ in range(50):
        tick += int(random.integers(1, 5000))
        tempos.append((tick, int(random.integers(100_001, 2_000_000))))
    starts = np.sort(random.choice(tick + 5000, 300, replace=False)).tolist()
    path = write(tmp_path / "a.mid", sum((note(t, 1, 40 + i % 30) for i, t in enumerate(starts)), []), tempos)
    score = notes.read(path)

    def exact(tick):
        seconds = Fraction(0)
        for (begin, tempo), (end, _) in zip(tempos, [*tempos[1:], (10**9, 0)], strict=True):
            seconds += Fraction(max(min(tick, end) - begin, 0) * tempo, 480 * 10**6)
        return seconds

    assert [Fraction(int(time), score.per_second) for time in score.onset] == [exact(t) for t in starts]


def test_seconds_agree_with_the_other_reader():
    score, plain = notes.read(RECORDING).notes(), midi.read(RECORDING)
    for one, other in zip(score, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_what_lies_outside_is_left_out(tmp_path):
    played = (
        note(0, 10, 20) + note(0, 960, 21, 100) + note(96, 10, 108) + note(96, 10, 109) + note(4800, 10, 60)
    )
    grid = notes.read(write(tmp_path / "a.mid", played)).grid(43, RATE, HOP)  # beats of half a second
    assert (grid.onset.tolist(), grid.key.tolist()) == ([0, 4], [0, 87])
    assert grid.offset.tolist() == [43, 4] and grid.velocity.tolist() == [100, 64]
    onsets = grid.onsets()
    assert onsets.shape == (88, 43) and np.argwhere(onsets).tolist() == [[0, 0], [87, 4]]


def test_a_note_that_begins_where_the_grid_ends_is_left_out(tmp_path):
    score = notes.read(write(tmp_path / "a.mid", note(9, 5, 60) + note(10, 5, 61)))
    assert score.grid(10, 960, 1).onset.tolist() == [9]


def test_pedal_holds_from_press_to_release(tmp_path):
    """Half pedal under 64 is up; a press that never ends lasts to the last note."""
    played = note(0, 960, 60) + [
        pedal(100, 70),
        pedal(200, 90),
        pedal(300, 63),
        pedal(400, 20),
        pedal(480, 127),
    ]
    score = notes.read(write(tmp_path / "a.mid", played))
    assert (score.pedal * 960 // score.per_second).tolist() == [[100, 300], [480, 960]]
    held = score.grid(50, RATE, HOP).pedal
    begins = np.arange(50) * HOP / RATE
    wanted = ((begins >= 100 / 960) & (begins < 300 / 960)) | ((begins >= 480 / 960) & (begins < 1))
    np.testing.assert_array_equal(held, wanted)


def test_64_is_the_least_value_that_holds(tmp_path):
    played = note(0, 960, 60) + [pedal(100, 64), pedal(200, 64), pedal(300, 63), pedal(400, 63)]
    score = notes.read(write(tmp_path / "a.mid", played))
    assert (score.pedal * 960 // score.per_second).tolist() == [[100, 300]]


def test_the_pedal_is_down_in_steps_that_begin_while_it_is(tmp_path):
    """Steps of a tick: a press at tick 3 and a release at tick 5 hold steps 3 and 4, whatever lies outside."""
    played = note(0, 960, 60) + [pedal(3, 127), pedal(5, 0), pedal(900, 127), pedal(2000, 0)]
    score = notes.read(write(tmp_path / "a.mid", played))
    assert np.flatnonzero(score.grid(10, 960, 1).pedal).tolist() == [3, 4]
    assert np.flatnonzero(score.grid(1000, 960, 1).pedal)[2] == 900 and score.grid(1000, 960, 1).pedal[999]
    early = score.shifted(
        -4 * 10**6 // 960
    )  # four ticks earlier: half of the press lies before the recording
    assert np.flatnonzero(early.grid(10, 960, 1).pedal).tolist() == [0]
    earlier = score.shifted(-6 * 10**6 // 960)  # all of the press lies before it
    assert not earlier.grid(10, 960, 1).pedal.any()


def test_a_shift_is_in_microseconds(tmp_path):
    score = notes.read(write(tmp_path / "a.mid", note(960, 960, 60) + [pedal(960, 127), pedal(1920, 0)]))
    moved = score.shifted(250_001)
    assert moved.notes().onset[0] == pytest.approx(1.250001, abs=1e-12)
    assert moved.notes().offset[0] == pytest.approx(2.250001, abs=1e-12)
    assert (moved.pedal / moved.per_second).ravel() == pytest.approx([1.250001, 2.250001], abs=1e-12)


def test_notes_are_a_table_in_seconds(tmp_path):
    pytest.importorskip("pandas")
    score = notes.read(write(tmp_path / "a.mid", note(960, 480, 61, 80) + note(1200, 480, 21, 5)))
    table = score.to_dataframe()
    assert table.columns.tolist() == ["onset", "offset", "pitch", "name", "velocity"]
    assert table.to_numpy().tolist() == [[1.0, 1.5, 61, "C♯4", 80], [1.25, 1.75, 21, "A0", 5]]


def test_clearness_is_in_deviations_of_units_that_count_alike():
    """A unit that always fires or never does says nothing; a rare one counts as much as a busy one."""
    random = np.random.default_rng(3)
    steps = np.arange(60, 1940, 37)
    grid = notes.Grid(steps, steps + 5, steps * 0 + 40, steps * 0 + 64, np.zeros(2000, bool))
    busy = random.random((12, 2000)) < 0.5
    rare = np.zeros((1, 2000), bool)
    rare[0, steps + 4] = True
    found, clearness = notes.lag(matrix(np.concatenate([busy, rare, rare & False, rare | True])), grid)
    assert found == 4 and clearness > 5
    assert notes.lag(matrix(np.concatenate([busy, rare])), grid) == pytest.approx((found, clearness))


def test_a_lag_is_that_of_the_definition_without_wrapping_round():
    """Notes at the beginning and events at the end are far apart, not close."""
    random = np.random.default_rng(2)
    onsets, events = np.zeros(90, int), random.random((5, 90)) < 0.3
    onsets[random.integers(0, 15, 12)] += 1
    events[:, 80:] |= random.random((5, 10)) < 0.6
    steps = np.repeat(np.arange(90), onsets)
    grid = notes.Grid(steps, steps + 5, steps * 0 + 40, steps * 0 + 64, np.zeros(90, bool))
    lags, total = range(-20, 21), np.zeros(41)
    for unit in events:
        found = np.zeros(41)
        for place, by in enumerate(lags):
            for step in range(max(0, -by), min(90, 90 - by)):
                found[place] += (onsets[step] - onsets.mean()) * (unit[step + by] - unit.mean()) / unit.std()
        total += (found - found.mean()) ** 2
    best = int(total.argmax())
    expected = lags[best], (total[best] - np.median(total)) / total.std()
    assert notes.lag(matrix(events), grid, reach=20) == pytest.approx(expected)


def test_lags_of_up_to_43_steps_are_looked_for_unless_more_are_asked_for():
    steps = np.flatnonzero(np.random.default_rng(1).random(2000) < 0.1)
    steps = steps[(steps > 50) & (steps < 1900)]
    grid = notes.Grid(steps, steps + 5, steps * 0 + 40, steps * 0 + 64, np.zeros(2000, bool))
    for delay, options, found in ((43, {}, True), (44, {}, False), (44, {"reach": 44}, True)):
        events = np.zeros((1, 2000), bool)
        events[0, steps + delay] = True
        assert (notes.lag(matrix(events), grid, **options)[0] == delay) == found


@pytest.mark.parametrize("delay", [-20, -1, 0, 3, 30])
def test_a_constant_offset_is_found(delay):
    """Units that fire, and others that pause, `delay` steps after the onsets, most of the time."""
    random = np.random.default_rng(1)
    steps = np.flatnonzero(random.random(2000) < 0.1)
    steps = steps[(steps > 50) & (steps < 1950)]
    grid = notes.Grid(steps, steps + 5, steps * 0 + 40, steps * 0 + 64, np.zeros(2000, bool))
    events = random.random((20, 2000)) < 0.5
    answered = random.random((20, len(steps))) < 0.3
    events[:10, steps + delay] |= answered[:10]
    events[10:, steps + delay] &= ~answered[10:]
    found, clearness = notes.lag(matrix(events), grid)
    assert found == delay and clearness > 5
    assert notes.lag(matrix(random.random((20, 2000)) < 0.5), grid)[1] < 5


def test_names_of_keys():
    assert [notes.name(key) for key in (0, 39, 87)] == ["A0", "C4", "C8"]


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no notes"):
        notes.read(write(tmp_path / "a.mid", [pedal(1, 2)]))
    with pytest.raises(UserError, match="no such file"):
        notes.read(tmp_path / "b.mid")


def test_a_score_goes_to_pretty_midi_and_back():
    score = notes.read(RECORDING)
    back = notes.Score.from_pretty_midi(score.to_pretty_midi())
    assert back.per_second == 10**6
    for name in ("pitch", "velocity"):
        np.testing.assert_array_equal(getattr(back, name), getattr(score, name))
    for name in ("onset", "offset", "pedal"):
        exact, rounded = getattr(score, name) / score.per_second, getattr(back, name) / back.per_second
        np.testing.assert_allclose(rounded, exact, atol=6e-7)


def test_notes_before_the_start_and_without_a_length_do_not_sound_on_in_a_written_file(tmp_path):
    """Of four notes two end before 0 s; a press of the pedal of 0.1 ms is none."""
    pytest.importorskip("pretty_midi")
    onset, offset = np.array([-1000, -500, 100, 500]), np.array([-500, 0, 100, 900])
    pitch, pedal = np.array([60, 61, 62, 63]), np.array([[-700, -600], [3000, 3001], [5000, 6000]])
    score = notes.Score(onset * 10, offset * 10, pitch, pitch, pedal, 10_000)
    score.to_pretty_midi().write(str(tmp_path / "a.mid"))
    found = notes.read(tmp_path / "a.mid")
    np.testing.assert_allclose(found.notes().onset, [0.1, 0.5], atol=1e-3)
    np.testing.assert_allclose(found.notes().offset, [0.1, 0.9], atol=1e-3)
    assert found.pitch.tolist() == [62, 63]
    np.testing.assert_allclose(found.pedal / found.per_second, [[0.5, 0.6]], atol=1e-3)


def test_pretty_midi_finds_the_same_notes_in_a_file():
    pretty_midi = pytest.importorskip("pretty_midi")
    theirs = notes.Score.from_pretty_midi(pretty_midi.PrettyMIDI(str(RECORDING))).notes()
    ours = notes.read(RECORDING).notes()
    np.testing.assert_array_equal(theirs.pitch, ours.pitch)
    np.testing.assert_allclose(theirs.onset, ours.onset, atol=1e-5)


def test_drums_alone_are_no_score():
    pretty_midi = pytest.importorskip("pretty_midi")
    piece, drums = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0, is_drum=True)
    drums.notes.append(pretty_midi.Note(64, 36, 0.0, 0.1))
    piece.instruments.append(drums)
    with pytest.raises(UserError, match="no notes"):
        notes.Score.from_pretty_midi(piece)


def test_some_note_must_begin_within_the_recording():
    def score(*seconds):
        times = np.array(seconds, np.int64)
        return notes.Score(times, times + 1, 60 + 0 * times, 64 + 0 * times, np.zeros((0, 2), np.int64), 1)

    score(-5, 0, 9).check_overlap("a", 1.0)
    for onsets in ((-7, -5, -2), (3, 4, 9), (-2, 3)):
        with pytest.raises(
            UserError, match=f"a: none of the {len(onsets)} notes .* at {onsets[0]}.0 to {onsets[-1]}.0 s"
        ):
            score(*onsets).check_overlap("a", 3.0)


def test_some_note_must_be_on_one_of_the_keys():
    def score(*pitches):
        pitch = np.array(pitches, np.int64)
        return notes.Score(0 * pitch, 1 + 0 * pitch, pitch, 64 + 0 * pitch, np.zeros((0, 2), np.int64), 1)

    score(5, 108).check_overlap("a", 1.0)
    with pytest.raises(
        UserError, match=r"a: none of the 2 notes .* 88 keys \(MIDI 21 to 108\); they are 5 to 109"
    ):
        score(5, 109).check_overlap("a", 1.0)


def test_a_single_step_has_no_lag():
    grid = notes.Grid(
        np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros(1, np.int64), np.ones(1), np.zeros(1, bool)
    )
    assert notes.lag(matrix(np.ones((3, 1), bool)), grid) == (0, 0.0)
