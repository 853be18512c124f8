"""The textbook to compare with: a fixed MDCT, a uniform quantiser and static tables, through a range coder.

Coder names are `mdct:KBPS`. Nothing is learned but the tables (`transform_tables.npz` beside this file, made by
`experiments/transform_baseline.py`). A clip becomes

    c = MDCT of the clip (sine window of 4096 samples, 2048 new samples a frame)
    q = sign(c) floor(|c| / (d R) + 0.33)   with R the clip's RMS, and d the step that meets the rate, by bisection
    |q| by the table of the cell's context (the frames before, the bins below, the band of frequency); a bit a sign

with ten bytes in front: the number of samples, R, d, the highest coded bin, and a checksum.

References: Princen, Johnson and Bradley 1987 (the transform); the range coder is that of `storage.entropy`.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_left
from functools import lru_cache
from importlib import resources

import constriction
import numpy as np
from scipy import fft

from snn_codec.errors import UserError
from snn_codec.evaluation.coder import Coded
from snn_codec.events import CHUNK_STEPS
from snn_codec.storage import entropy

SAMPLE_RATE = 22_050
LENGTH = CHUNK_STEPS * 512  # samples of a clip, as other coders have
FRAME = 2048  # new samples a frame, and coefficients of one
ROUNDING = 0.33  # not a half: a small coefficient costs more than it brings
TOP = 15  # the largest magnitude of a table; what lies above is a number of its own
BANDS = 14  # of frequency, that contexts tell apart
STEPS, STEPS_PER_OCTAVE, FINEST = 256, 32, 0.125  # values of d: FINEST 2^(number / STEPS_PER_OCTAVE)
N_TABLES = 2 * STEPS // STEPS_PER_OCTAVE  # one for each half octave of d
BIN_UNIT = 16  # the highest coded bin is a multiple of this
HEADER = 10  # bytes: samples (3), loudness (1), d (1), highest bin (1), checksum (4)
SILENT = 255  # in place of the loudness
LOWEST_KBPS, HIGHEST_KBPS = 0.1, 24.0
TABLES = "transform_tables.npz"

_WINDOW = np.sin(np.pi * (np.arange(2 * FRAME) + 0.5) / (2 * FRAME))
_SUMS = np.arange(24)  # of twice the neighbours' magnitudes, weighted; above 12 in classes of three
_CLASSES = np.where(_SUMS > 12, 12 + (_SUMS - 12) // 3, _SUMS)
CONTEXTS = (int(_CLASSES.max()) + 1) * BANDS
_COIN = constriction.stream.model.Bernoulli(0.5, perfect=False)
_CATEGORICAL = constriction.stream.model.Categorical


def mdct(samples: np.ndarray) -> np.ndarray:
    """Coefficients float64 `[frames, FRAME]` of `[samples]`; orthonormal, with silence before and after them."""
    frames = -(-len(samples) // FRAME) + 1
    padded = np.zeros((frames + 1) * FRAME)
    padded[FRAME : FRAME + len(samples)] = samples
    halves = padded.reshape(-1, FRAME // 2)
    a, b, c, d = (
        halves[part : part + 2 * frames : 2] * shape for part, shape in enumerate(_WINDOW.reshape(4, -1))
    )
    return fft.dct(np.hstack([-c[:, ::-1] - d, a - b[:, ::-1]]), 4, norm="ortho")


def inverse_mdct(coefficients: np.ndarray, n_samples: int) -> np.ndarray:
    """The float64 `[n_samples]` of which `mdct` makes these coefficients."""
    left, right = np.split(fft.dct(coefficients, 4, norm="ortho"), 2, axis=1)
    frames = np.hstack([right, -right[:, ::-1], -left[:, ::-1], -left]) * _WINDOW
    sound = np.zeros((len(frames) + 1, FRAME))
    sound[:-1] += frames[:, :FRAME]
    sound[1:] += frames[:, FRAME:]
    return sound.ravel()[FRAME : FRAME + n_samples]


def quantised(coefficients: np.ndarray, step: float) -> np.ndarray:
    """int64 `[frames, bins]`."""
    return (np.sign(coefficients) * np.floor(np.abs(coefficients) / step + ROUNDING)).astype(np.int64)


def contexts(magnitudes: np.ndarray) -> np.ndarray:
    """The table's row for each cell, int64 `[frames, bins]`, from magnitudes of at most TOP in the cells before it."""
    below = np.pad(magnitudes, ((0, 0), (2, 0)))
    return _rows(_earlier(magnitudes) + 4 * below[:, 1:-1] + 2 * below[:, :-2], magnitudes.shape[1])


def _earlier(magnitudes: np.ndarray) -> np.ndarray:
    """What the two frames before each add to its cells' sums."""
    padded = np.pad(magnitudes, ((2, 0), (2, 2)))
    last, older = padded[1:-1], padded[:-2]
    near = last[:, 1:-3] + last[:, 3:-1] + older[:, 2:-2]
    return 4 * last[:, 2:-2] + 2 * near + last[:, :-4] + last[:, 4:]


def _rows(sums: np.ndarray, bins: int) -> np.ndarray:
    return _CLASSES[np.minimum(sums, len(_CLASSES) - 1)] * BANDS + _bands()[:bins]


@lru_cache
def _bands() -> np.ndarray:
    hertz = np.arange(FRAME) * SAMPLE_RATE / (2 * FRAME)
    return np.clip((np.log2(hertz + 30) * 1.5).astype(np.int64) - 7, 0, BANDS - 1)


def step_of(number: int) -> float:
    """d by its number, 0 to STEPS - 1."""
    return FINEST * 2 ** (number / STEPS_PER_OCTAVE)


@lru_cache
def shipped_tables() -> np.ndarray:
    """Probabilities float32 `[N_TABLES, CONTEXTS, TOP + 1]`, multiples of 2^-16, so that they are exact."""
    with resources.files("snn_codec.evaluation").joinpath(TABLES).open("rb") as file:
        return (np.load(file, allow_pickle=False)["frequencies"].astype(np.int64) + 1).astype(np.float32) / (
            1 << 16
        )


class Textbook:
    """The coder for given tables, as `shipped_tables` has them."""

    def __init__(self, tables: np.ndarray):
        self.tables = tables
        self._lengths = -np.log2(tables)

    def encode(self, samples: np.ndarray, n_bytes: int) -> bytes:
        """Float `[samples]` at `SAMPLE_RATE` in at most `n_bytes`, or as few as the coarsest step gives."""
        loudness = _loudness(samples)
        if loudness == SILENT:
            return self._packed(len(samples), SILENT, 0, 0, b"")
        coefficients = mdct(samples) / _level(loudness)

        def fits(number: int) -> bool:
            return self._bits(quantised(coefficients, step_of(number)), number) <= 8 * (n_bytes - HEADER)

        low = bisect_left(range(STEPS - 1), True, key=fits)  # the wanted step is the finest that fits
        while True:  # the range coder may need a byte more than it should
            code = self.code(len(samples), loudness, quantised(coefficients, step_of(low)), low)
            if len(code) <= n_bytes or low == STEPS - 1:
                return code
            low += 1

    def encode_at(self, samples: np.ndarray, number: int) -> bytes:
        """As `encode`, with the step of this number, in as many bytes as it takes."""
        loudness = _loudness(samples)
        if loudness == SILENT:
            return self._packed(len(samples), SILENT, 0, 0, b"")
        values = quantised(mdct(samples) / _level(loudness), step_of(number))
        return self.code(len(samples), loudness, values, number)

    def decode(self, data: bytes) -> np.ndarray:
        """The float32 `[samples]` of a code.

        Raises:
            ValueError: It is not one.
        """
        fields, payload = data[: HEADER - 4], data[HEADER:]
        if len(data) < HEADER or zlib.crc32(fields + payload) != int.from_bytes(
            data[HEADER - 4 : HEADER], "big"
        ):
            raise ValueError("this is not a code of the textbook, or it is damaged")
        n_samples = int.from_bytes(fields[:3], "big")
        loudness, number, top = fields[3:]
        if loudness == SILENT:
            return np.zeros(n_samples, np.float32)
        coefficients = np.zeros((-(-n_samples // FRAME) + 1, FRAME))
        coefficients[:, : top * BIN_UNIT] = self._values(payload, number, len(coefficients), top * BIN_UNIT)
        return inverse_mdct(coefficients * step_of(number) * _level(loudness), n_samples).astype(np.float32)

    def code(self, n_samples: int, loudness: int, values: np.ndarray, number: int) -> bytes:
        """Quantised coefficients int64 `[frames, bins]` in the table of step `number`, with all that is in front."""
        values = values[:, : _top(values) * BIN_UNIT]
        magnitudes = np.abs(values)
        capped = np.minimum(magnitudes, TOP)
        encoder = entropy.RangeEncoder()
        if values.size:
            probabilities = self._table(number)[contexts(capped).ravel()]
            encoder.encode(capped.ravel().astype(np.int32), _CATEGORICAL(perfect=False), probabilities)
        bits = [bit for value in magnitudes[magnitudes >= TOP] for bit in _gamma(int(value) - TOP + 1)]
        bits += (values[values != 0] < 0).tolist()
        if bits:
            encoder.encode(np.array(bits, np.int32), _COIN)
        return self._packed(n_samples, loudness, number, _top(values), entropy.shortest(encoder))

    def _packed(self, n_samples: int, loudness: int, number: int, top: int, payload: bytes) -> bytes:
        fields = n_samples.to_bytes(3, "big") + bytes([loudness, number, top])
        return fields + zlib.crc32(fields + payload).to_bytes(4, "big") + payload

    def _values(self, payload: bytes, number: int, frames: int, bins: int) -> np.ndarray:
        """Quantised coefficients int64 `[frames, bins]`."""
        source = entropy.decoder(payload)
        magnitudes = self._magnitudes(source, number, frames, bins)
        for frame, column in np.argwhere(magnitudes == TOP):
            magnitudes[frame, column] += _read_gamma(source) - 1
        values = magnitudes.copy()
        negative = source.decode(_COIN, int(np.count_nonzero(values))).astype(bool)
        values[values != 0] *= np.where(negative, -1, 1)
        return values

    def _magnitudes(self, source: entropy.RangeDecoder, number: int, frames: int, bins: int) -> np.ndarray:
        """int64 `[frames, bins]`, capped at TOP; bin after bin, because each one's table is chosen by those below."""
        rows = [_CATEGORICAL(row, perfect=False) for row in self._table(number)]
        bands = _bands()[:bins].tolist()
        classes = (_CLASSES * BANDS).tolist()
        magnitudes = np.zeros((frames, bins), np.int64)
        for frame in range(frames):
            one = two = 0
            earlier = _earlier(magnitudes[max(frame - 2, 0) : frame + 1])[-1].tolist()
            for column in range(bins):
                total = min(earlier[column] + 4 * one + 2 * two, 23)
                one, two = source.decode(rows[classes[total] + bands[column]]), one
                if one:
                    magnitudes[frame, column] = one
        return magnitudes

    def _bits(self, values: np.ndarray, number: int) -> float:
        """What a perfect coder needs."""
        values = np.abs(values[:, : _top(values) * BIN_UNIT])
        capped = np.minimum(values, TOP)
        escapes = 2 * np.floor(np.log2(values[values >= TOP] - TOP + 1)) + 1
        lengths = self._lengths[_place(number)][contexts(capped), capped]
        return float(lengths.sum(dtype=np.float64) + np.count_nonzero(values) + escapes.sum())

    def _table(self, number: int) -> np.ndarray:
        return self.tables[_place(number)]


def _place(number: int) -> int:
    """The table for a step: that of the nearest half octave."""
    return min(round(number * N_TABLES / STEPS), N_TABLES - 1)


def _loudness(samples: np.ndarray) -> int:
    """The RMS as it is coded, in half decibels below 1."""
    level = float(np.sqrt(np.square(samples, dtype=np.float64).mean())) if len(samples) else 0.0
    return min(max(round(-40 * np.log10(level)), 0), SILENT) if level > 0 else SILENT


def _level(loudness: int) -> float:
    return 10 ** (-loudness / 40)


def _top(values: np.ndarray) -> int:
    """How many BIN_UNITs hold all that is not zero."""
    used = np.flatnonzero(values.any(0))
    return int(used[-1]) // BIN_UNIT + 1 if len(used) else 0


def _gamma(value: int) -> list[int]:
    """Elias' gamma code of a number from 1."""
    digits = [int(digit) for digit in f"{value:b}"]
    return [0] * (len(digits) - 1) + digits


def _read_gamma(source: entropy.RangeDecoder) -> int:
    zeros = 0
    while not source.decode(_COIN):
        zeros += 1
    value = 1
    for _ in range(zeros):
        value = 2 * value + int(source.decode(_COIN))
    return value


class TextbookCoder:
    """`mdct:KBPS`: true bytes of each clip, at most that many.

    Raises:
        UserError: There is no such rate.
    """

    sample_rate, length = SAMPLE_RATE, LENGTH

    def __init__(self, name: str):
        _, _, rate = name.partition(":")
        try:
            self.kbps = float(rate)
        except ValueError:
            self.kbps = 0.0
        if not LOWEST_KBPS <= self.kbps <= HIGHEST_KBPS:
            raise UserError(
                f"{name}: the rate must be {LOWEST_KBPS} to {HIGHEST_KBPS:g} kbps, as in mdct:2.6"
            )
        self.name, self.coder = name, Textbook(shipped_tables())
        self.fingerprint = hashlib.sha256(name.encode() + shipped_tables().tobytes()).hexdigest()[:16]

    def code(self, clip: np.ndarray) -> Coded:
        seconds = len(clip) / SAMPLE_RATE
        code = self.coder.encode(clip, int(self.kbps * 1000 / 8 * seconds))
        return Coded(self.coder.decode(code), len(code) * 8 / seconds / 1000)
