"""Notes and pedals of a Standard MIDI File, with exact times.

Read here, and not by a library, because those that there are take tempo changes from the first track only, limit ticks
where seconds are meant, and refuse a file for one odd key signature. Of meta events only the tempo counts.

Reference: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (MIDI Manufacturers Association).
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_codec.errors import UserError

SUSTAIN = 64  # the control number of the pedal that lifts all dampers
DRUMS = 9  # the channel whose notes are no pitches
TEMPO = 500_000  # microseconds a beat, until a file says otherwise
LONGEST = 100 * 3600  # seconds; a file that lasts longer is damaged
MICRO = 10**6
END = 0
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


class Notes(NamedTuple):
    """All notes in the order of their onsets: seconds, seconds, MIDI numbers, velocities; each `[notes]`."""

    onset: np.ndarray
    offset: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


class Played(NamedTuple):
    """What a file plays, drums left out, with times int64 in units of 1 / `per_second` s.

    `notes` `[notes, 4]`: onset, offset, MIDI number, velocity, sorted; `pedal` `[changes, 2]`: time and value of the
    sustain pedal, sorted by time. A note that ends when it begins has its onset; one that never ends lasts as its track
    does.
    """

    notes: np.ndarray
    pedal: np.ndarray
    per_second: int


class _Event(NamedTuple):
    """A channel's message: `kind` is 0x80, 0x90, ...; a change of tempo, of kind 0xFF with the tempo in `first`; or the
    end of a track, of kind `END`."""

    tick: int
    kind: int
    channel: int
    first: int
    second: int


def read(path: str | os.PathLike) -> Notes:
    """The notes of all channels but drums.

    Raises:
        UserError: As `played`.
    """
    found = played(path)
    onset, offset, pitch, velocity = found.notes.T
    return Notes(onset / found.per_second, offset / found.per_second, pitch, velocity)


def played(path: str | os.PathLike) -> Played:
    """The notes and the pedal of a file, with exact times.

    Tempo changes count wherever they stand. Data bytes above 127 count as 127, and what no note depends on is not
    looked at.

    Raises:
        UserError: Missing, not MIDI, cut short, longer than 100 hours, or without notes.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        division, tracks = _tracks(path.read_bytes())
        events = [list(_events(track)) for track in tracks]
        clock, per_second = _clock(division, [event for track in events for event in track])
    except (ValueError, IndexError) as error:
        reason = "it is cut short" if isinstance(error, IndexError) else str(error)
        raise UserError(f"{path}: is not a MIDI file ({reason}); export it again") from error
    last = max((event.tick for track in events for event in track if event.kind != END), default=0)
    if clock(last) > LONGEST * per_second:
        hours = clock(last) / per_second / 3600
        raise UserError(f"{path}: would last {hours:.0f} hours, so it is damaged; export it again")
    notes = sorted(note for track in events for note in _notes(track, clock))
    if not notes:
        raise UserError(f"{path}: holds no notes")
    changes = (
        (clock(event.tick), event.second)
        for track in events
        for event in track
        if (event.kind, event.first) == (0xB0, SUSTAIN) and event.channel != DRUMS
    )
    pedal = sorted(changes, key=lambda change: change[0])  # those of one tick as they stand
    return Played(np.array(notes, np.int64), np.array(pedal, np.int64).reshape(-1, 2), per_second)


def _tracks(data: bytes) -> tuple[bytes, list[bytes]]:
    """The two bytes of the header that say what a tick is, and the content of each track."""
    start = data.find(b"MThd", 0, 64)  # RIFF files have a MIDI file in them
    if start < 0:
        raise ValueError("it does not begin with MThd")
    division = data[start + 12 : start + 14]
    tracks: list[bytes] = []
    if len(division) < 2 or not any(division):
        raise ValueError("its header is cut short")
    length, count = struct.unpack_from(">I2xH", data, start + 4)
    place = start + 8 + length
    while place + 8 <= len(data) and len(tracks) < count:
        name, size = struct.unpack_from(">4sI", data, place)
        if name == b"MTrk":
            if place + 8 + size > len(data):
                raise ValueError("it is cut short")
            tracks.append(data[place + 8 : place + 8 + size])
        place += 8 + size
    if not tracks:
        raise ValueError("it has no track")
    return division, tracks


def _events(track: bytes) -> Iterator[_Event]:
    """Messages of channels, changes of tempo and the end, in the order of a track.

    Raises:
        IndexError: The track ends within an event.
        ValueError: Data stands where an event should.
    """
    place = tick = running = 0
    while place < len(track):
        delta, place = _number(track, place)
        tick += delta
        status = running
        if track[place] & 0x80:
            status, place = track[place], place + 1
        elif not running:
            raise ValueError("a track begins with data")
        if status >= 0xF0:
            if status == 0xFF:
                kind, place = track[place], place + 1
            size, place = _number(track, place)
            content, place = track[place : place + size], place + size
            if place > len(track):
                raise IndexError
            if status == 0xFF and kind == 0x51 and any(content):
                yield _Event(tick, 0xFF, 0, int.from_bytes(content, "big"), 0)
            if status == 0xFF and kind == 0x2F:
                yield _Event(tick, END, 0, 0, 0)
                return
            continue  # it should end the running status, but there are files that go on with that of a channel
        running = status
        size = _DATA_BYTES[status & 0xF0]
        values = [min(track[place + offset], 127) for offset in range(size)]
        place += size
        yield _Event(tick, status & 0xF0, status & 0x0F, values[0], values[-1])


def _number(track: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    for _ in range(4):
        value, more, place = value << 7 | track[place] & 0x7F, track[place] & 0x80, place + 1
        if not more:
            return value, place
    raise ValueError("a number is too long")


def _notes(track: list[_Event], clock: Callable[[int], int]) -> Iterator[tuple[int, int, int, int]]:
    """Onset, offset, pitch and velocity of the notes of a track."""
    held: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in track:
        if event.kind not in (0x80, 0x90) or event.channel == DRUMS:
            continue
        waiting = held.setdefault((event.channel, event.first), [])
        if event.kind == 0x90 and event.second:
            waiting.append((event.tick, event.second))
            continue
        # all that began before end; if all began now, the first of them ends without a length
        ended = [note for note in waiting if note[0] < event.tick] or waiting[:1]
        del waiting[: len(ended)]
        for tick, velocity in ended:
            yield clock(tick), clock(event.tick), event.first, velocity
    for (_, pitch), waiting in held.items():
        for tick, velocity in waiting:
            yield clock(tick), clock(track[-1].tick), pitch, velocity


def _clock(division: bytes, events: list[_Event]) -> tuple[Callable[[int], int], int]:
    """From ticks to exact units, and how many of those a second has."""
    if division[0] & 0x80:  # frames a second, ticks a frame; 29 stands for 29.97
        frames, per_frame = 256 - division[0], division[1]
        if not per_frame:
            raise ValueError("its header has no ticks a frame")
        units, per_second = (1001, 30_000 * per_frame) if frames == 29 else (1, frames * per_frame)
        return lambda tick: tick * units * MICRO, per_second * MICRO
    changes = {0: TEMPO}
    for event in sorted((event for event in events if event.kind == 0xFF), key=lambda event: event.tick):
        changes[event.tick] = event.first
    ticks, tempos = list(changes), list(changes.values())
    lasted = [
        (after - before) * tempo for before, after, tempo in zip(ticks, ticks[1:], tempos, strict=False)
    ]
    starts = [0, *accumulate(lasted)]

    def exact(tick: int) -> int:
        place = bisect_right(ticks, tick) - 1
        return starts[place] + (tick - ticks[place]) * tempos[place]

    return exact, int.from_bytes(division, "big") * MICRO
