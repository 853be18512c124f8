"""Make the recording that the repository ships: MIDI and audio of Bach's Prelude in C major, BWV 846, bars 1-19.

    python data/make_recording.py --soundfont salamander.sf2 [--output data/recording]

The notes are typed from the score (Johann Sebastian Bach, The Well-Tempered Clavier I, 1722: public domain);
timing, dynamics and pedal are ours, drawn from a fixed seed. fluidsynth plays them; any SoundFont of a piano
will do, the shipped audio is of Salamander Grand Piano V3 by Alexander Holm (CC BY 3.0).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pretty_midi
import soundfile
import soxr

NAME = "bach-bwv846"
RATE = 22050
LEAD = 0.1  # seconds before the first note
LATENCY = 0.0035  # of the synthesiser: its onsets come so much after the MIDI's
QUARTER = 60 / 128

# Each bar is one broken chord, lowest note first, played twice as 1 2 3 4 5 3 4 5 in semiquavers.
BARS = """
C4 E4 G4 C5 E5 | C4 D4 A4 D5 F5 | B3 D4 G4 D5 F5 | C4 E4 G4 C5 E5 | C4 E4 A4 E5 A5 | C4 D4 F#4 A4 D5
B3 D4 G4 D5 G5 | B3 C4 E4 G4 C5 | A3 C4 E4 G4 C5 | D3 A3 D4 F#4 C5 | G3 B3 D4 G4 B4 | G3 Bb3 E4 G4 C#5
F3 A3 D4 A4 D5 | F3 Ab3 D4 F4 B4 | E3 G3 C4 G4 C5 | E3 F3 A3 C4 F4 | D3 F3 A3 C4 F4 | G2 D3 G3 B3 F4
C3 E3 G3 C4 E4
"""
ORDER = (0, 1, 2, 3, 4, 2, 3, 4)
# Loudness by bar: two swells, the second from the chromatic turn of bar 12 to the cadence.
VELOCITY = (48, 52, 56, 54, 66, 62, 70, 60, 54, 66, 62, 74, 82, 92, 84, 70, 62, 74, 46)


def performance(seed: int = 846) -> pretty_midi.PrettyMIDI:
    """The notes as played: tempo that breathes, broad at the end; bass and top brought out; pedal for each bar."""
    random = np.random.default_rng(seed)
    bars = [[pretty_midi.note_name_to_number(name) for name in bar.split()] for bar in _bars()]
    score = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    piano = pretty_midi.Instrument(0, name="piano")
    time = LEAD
    for number, (bar, velocity) in enumerate(zip(bars, VELOCITY, strict=True)):
        # slower at the ends of phrases (bars 4, 11) and towards the last bar
        stretch = {3: 1.03, 10: 1.06, 16: 1.06, 17: 1.16, 18: 1.45}.get(number, 1.0)
        start, onsets = time, []
        for sixteenth in range(16):
            onsets.append(time)
            breath = 1 + 0.03 * np.cos(2 * np.pi * sixteenth / 16)
            time += QUARTER / 4 * stretch * breath
        for sixteenth, place in enumerate(ORDER * 2):
            half = 8 * (sixteenth // 8)
            half_end = onsets[8] if half == 0 else time
            weight = {0: 8, 1: 0, 4: 4}.get(place, -4)
            onset = onsets[sixteenth] + random.normal(0, 0.004)
            held = (
                half_end if sixteenth - half < 2 else onset + 1.1 * (time - start) / 16
            )  # tied in the score
            if number == len(bars) - 1 and half:
                held = time + 1.5
            loud = int(np.clip(velocity + weight + random.normal(0, 2.5), 1, 127))
            piano.notes.append(pretty_midi.Note(loud, bar[place], max(onset, 0), held))
        piano.control_changes.append(pretty_midi.ControlChange(64, 127, start + 0.06))
        up = time + (1.6 if number == len(bars) - 1 else 0.0)
        piano.control_changes.append(pretty_midi.ControlChange(64, 0, up))
    _separate_repeats(piano.notes)
    score.instruments.append(piano)
    return score


def render(score: Path, soundfont: Path) -> np.ndarray:
    """What fluidsynth plays, mono at `RATE`, its latency removed, faded out, with a peak of -3 dBFS."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "a.wav"
        subprocess.run(
            ["fluidsynth", "-ni", "-q", "-g", "1.0", "-R", "1", "-C", "0", "-r", "44100", "-O", "float"]
            + ["-o", "synth.reverb.level=0.4", "-o", "synth.reverb.room-size=0.5", "-o", "synth.reverb.damp=0.4"]
            + ["-T", "wav", "-F", wave, soundfont, score],
            check=True,
        )  # fmt: skip
        sound, rate = soundfile.read(wave, dtype="float32", always_2d=True)
    sound = soxr.resample(sound.mean(1)[round(LATENCY * rate) :], rate, RATE)
    end = pretty_midi.PrettyMIDI(str(score)).get_end_time() + 0.8
    sound = sound[: round(end * RATE)]
    fade = round(0.8 * RATE)
    sound[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    return sound * 10 ** (-3 / 20) / np.abs(sound).max()


def _bars() -> list[str]:
    return [bar for line in BARS.strip().splitlines() for bar in line.split("|")]


def _separate_repeats(notes: list[pretty_midi.Note]) -> None:
    """A key that is struck again must have come up before."""
    following: dict[int, float] = {}
    for note in sorted(notes, key=lambda note: -note.start):
        note.end = min(note.end, following.get(note.pitch, np.inf) - 0.01)
        following[note.pitch] = note.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--soundfont", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "recording")
    options = parser.parse_args()
    if shutil.which("fluidsynth") is None:
        parser.error("fluidsynth is not on PATH; install it with your system's package manager")
    if not options.soundfont.is_file():
        parser.error(f"{options.soundfont}: no such file")
    options.output.mkdir(parents=True, exist_ok=True)
    score = options.output / f"{NAME}.mid"
    performance().write(str(score))
    soundfile.write(options.output / f"{NAME}.flac", render(score, options.soundfont), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
