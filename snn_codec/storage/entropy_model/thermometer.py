"""The entropy model of a thermometer's events (`snn_codec.models.thermometer`): what each coefficient is likely to be.

A chunk's events are signed numbers of passed thresholds m, one for each step and bin. They are coded step by step, the
bins of a step in three passes (bins 0 of 4, then 2 of 4, then 1 and 3 of 4), so that a decoder needs three vectorised
calls a step instead of one a bin. Of a bin, in this order: whether m is 0; its sign; whether a further threshold is
passed, until one is not. So what a thermometer implies costs nothing.

One small network, the same at every bin, sees the three steps before (bins up to five away) and the bins of this step
that are already known (up to six away): whether there are events, log magnitudes, and signed ones turned by the phase
that a sinusoid at the bin's centre would have by now (`snn_codec.models.lapped`). So it foretells signs, too. It also
sees two running means of each bin's log magnitude, the bin's own bias, and the level.

    h = relu8(past + known + bias_k + level);  h' = relu8(M_p h + b_p);  outputs = O_p h' + c_p        (p: the pass)

with relu8 the identity clipped to 0..8. Outputs are log odds of m != 0, of a second and a third threshold, two numbers
for all further ones (a + b log2(j / 3)), and two that give the log odds of a positive sign, by the same phase.

All numbers are integers: inputs in 1/8, weights in 1/1024, activations in 1/32, log odds in 1/256. They are kept in
float32, in which integers below 2^24 are exact in any order of summation, so that every machine and BLAS gets the same
log odds; `ThermometerModel` refuses weights that could leave that range. Training is in
`snn_codec.training.thermometer_rate`.

A chunk begins without a past. Departs: the paper never entropy-codes its events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from snn_codec.levels import LEVEL_PARTS, UNREACHED
from snn_codec.storage import entropy
from snn_codec.storage.entropy_model.base import NO_SIDE, EntropyModel, Side
from snn_codec.storage.entropy_model.network import MAX_LOGIT, probability
from snn_codec.thermometer import Layout

PASSES = (slice(0, None, 4), slice(2, None, 4), slice(1, None, 2))
PAST_CHANNELS, KNOWN_CHANNELS, OUTPUTS = 11, 4, 7
MAX_MAGNITUDE = 255  # of m; its log magnitude is 8 octaves
RATES = 2, 4  # the running means move by 1/4 and 1/16 of the difference
INPUT, WEIGHT, ACTIVATION = 8, 1024, 32
TOP_ACTIVATION = 8 * ACTIVATION - 1
TOP_INPUT = 16 * INPUT  # twice 8 octaves, of a running mean
EXACT = 2**24


@lru_cache(maxsize=1)
def log_magnitudes() -> np.ndarray:
    """round(8 log2(1 + m)) for m = 0..255; no value is within 1e-3 of a rounding border (a test checks it)."""
    return np.rint(INPUT * np.log2(1 + np.arange(MAX_MAGNITUDE + 1))).astype(np.int32)


@lru_cache(maxsize=8)
def turns(bins: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs of cosine and sine of `lapped.phase` (1 + 2 steps), int32 `[bins]` each; both have one magnitude."""
    quarter = (np.arange(bins) * (1 + 2 * steps) + steps) % 4  # the angle is pi/4 + quarter pi/2
    return np.array([1, -1, -1, 1], np.int32)[quarter], np.array([1, 1, -1, -1], np.int32)[quarter]


class Past:
    """What the network sees of the steps before one, kept from step to step.

    Args:
        bins: Number of bins.
    """

    def __init__(self, bins: int):
        self.bins = bins
        self.logs = np.zeros((3, bins), np.int32)  # one, two, three steps ago
        self.signs = np.zeros((2, bins), np.int32)
        self.means = np.zeros((2, bins), np.int32)  # in 1/64 octave

    def inputs(self) -> np.ndarray:
        """int32 `[PAST_CHANNELS, bins]`."""
        rows = []
        for back in (1, 2):
            log = self.logs[back - 1]
            signed = log * self.signs[back - 1]
            cosine, sine = turns(self.bins, back)
            rows += [INPUT * (log > 0), log, signed * cosine, signed * sine]
        return np.stack([*rows, self.logs[2], *(self.means >> 2)])

    def add(self, magnitudes: np.ndarray) -> None:
        """Take in what the step was: signed int `[bins]`."""
        log = log_magnitudes()[np.abs(magnitudes)]
        for mean, rate in zip(self.means, RATES, strict=True):
            mean += (8 * log - mean) >> rate
        self.logs = np.stack([log, self.logs[0], self.logs[1]])
        self.signs = np.stack([np.sign(magnitudes).astype(np.int32), self.signs[0]])


def past_inputs(magnitudes: np.ndarray) -> np.ndarray:
    """What the network sees before each step of signed int `[step, bin]`: int32 `[step, PAST_CHANNELS, bin]`."""
    past, rows = Past(magnitudes.shape[1]), []
    for step in magnitudes:
        rows.append(past.inputs())
        past.add(step)
    return np.stack(rows)


def known_inputs(magnitudes: np.ndarray) -> np.ndarray:
    """What it sees of a step itself, before bins yet unknown are zeroed: int32 `[step, KNOWN_CHANNELS, bin]`."""
    log = log_magnitudes()[np.abs(magnitudes)]
    signed = log * np.sign(magnitudes).astype(np.int32)
    cosine, sine = turns(magnitudes.shape[1], 0)
    return np.stack([INPUT * (log > 0), log, signed * cosine, signed * sine], 1)


@dataclass(frozen=True, eq=False)
class ThermometerModel(EntropyModel):
    """The integer network of one checkpoint. All weights are int16, all else is int32.

    Attributes:
        layout_edges, layout_counts: Of the thermometer's bands (`snn_codec.thermometer.Layout`), int32.
        past: `[H, PAST_CHANNELS, taps]`, and `known` `[2, H, KNOWN_CHANNELS, taps]` of the second and third pass.
        bias: `[H, K]`, of every bin.
        level: `[levels, H]`, what each whole level adds.
        middle, middle_bias: `[3, H, H]`, `[3, H]`.
        output, output_bias: `[3, OUTPUTS, H]`, `[3, OUTPUTS]`.
        further: `[2, J - 1]`: log odds added at threshold 1, 2, ..., and the factor of b, both in 1/256.
        checkpoint: Fingerprint of the checkpoint whose events it was trained on; "" if not known.

    Raises:
        ValueError: Arrays of other types, of shapes that do not fit together, or too large to be exact.
    """

    KIND: ClassVar[str] = "snn_codec.thermometer"
    VERSION: ClassVar[str] = "1"
    CHUNK_FORMAT: ClassVar[str] = "thermometer"

    layout_edges: np.ndarray
    layout_counts: np.ndarray
    past: np.ndarray
    known: np.ndarray
    bias: np.ndarray
    level: np.ndarray
    middle: np.ndarray
    middle_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    further: np.ndarray
    checkpoint: str = ""

    def __post_init__(self) -> None:
        hidden, bins, most = len(self.past), int(self.layout_edges[-1]), int(self.layout_counts.max())
        shapes = {
            "past": (hidden, PAST_CHANNELS, self.past.shape[-1]),
            "known": (2, hidden, KNOWN_CHANNELS, self.known.shape[-1]),
            "bias": (hidden, bins),
            "level": (len(self.level), hidden),
            "middle": (3, hidden, hidden),
            "middle_bias": (3, hidden),
            "output": (3, OUTPUTS, hidden),
            "output_bias": (3, OUTPUTS),
            "further": (2, most - 1),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            kind = np.int16 if name in ("past", "known", "middle", "output") else np.int32
            if array.dtype != kind or array.shape != shape:
                raise ValueError(f"{name} must be {kind.__name__} {list(shape)}")
        sums = [np.abs(part.astype(np.int64)).sum((-1, -2)).max() for part in (self.past, self.known)]
        worst = TOP_INPUT * sum(sums) + np.abs(self.bias).max() + np.abs(self.level).max()
        for weight, bias in ((self.middle, self.middle_bias), (self.output, self.output_bias)):
            row = TOP_ACTIVATION * np.abs(weight.astype(np.int64)).sum(-1) + np.abs(bias)
            worst = max(worst, row.max())
        if worst >= EXACT or most > MAX_MAGNITUDE:
            raise ValueError("the weights are too large to be exact")

    @cached_property
    def layout(self) -> Layout:
        """Which unit stands for what (`snn_codec.thermometer.Layout`)."""
        return Layout(self.layout_edges.tolist(), self.layout_counts.tolist())

    @property
    def n_units(self) -> int:
        """N, the number of units."""
        return self.layout.units

    def settings(self) -> dict[str, str]:
        return {}

    def tensors(self) -> dict[str, np.ndarray]:
        return {part.name: getattr(self, part.name) for part in fields(self) if part.name != "checkpoint"}

    @classmethod
    def from_parts(
        cls, settings: Mapping[str, str], tensors: Mapping[str, np.ndarray], checkpoint: str
    ) -> ThermometerModel:
        return cls(**tensors, checkpoint=checkpoint)

    def encode(self, events: np.ndarray, side: Side = NO_SIDE) -> bytes | None:
        """Code of a bool matrix `[N, steps]`; None if no coefficients have these events."""
        signed = self.layout.magnitudes(events)
        if signed is None:
            return None
        cells, odds = self._cells(signed, side)
        return entropy.encode_cells(cells, probability(odds))

    def bits(self, events: np.ndarray, side: Side = NO_SIDE) -> float:
        """Ideal bits of `encode`; infinite if no coefficients have these events."""
        signed = self.layout.magnitudes(events)
        if signed is None:
            return np.inf
        cells, odds = self._cells(signed, side)
        return entropy.ideal_bits(cells, probability(odds))

    def decode(self, data: bytes, steps: int, side: Side = NO_SIDE) -> np.ndarray:
        """The bool matrix `[N, steps]` that `encode` made `data` of, with the same `side`.

        Raises:
            entropy.EntropyError: There is none.
        """
        return self.layout.events(self._magnitudes(data, steps, side))

    def _magnitudes(self, data: bytes, steps: int, side: Side) -> np.ndarray:
        """Signed int16 `[step, bin]` of a code."""
        source, past = entropy.decoder(data), Past(self.layout.bins)
        evaluator = _Evaluator(self, side)
        found = np.zeros((steps, self.layout.bins), np.int16)
        for row in found:
            evaluator.begin(past.inputs()[None])
            for number, bins in enumerate(PASSES):
                outputs = evaluator.outputs(number, known_inputs(row[None]))
                self._decode_pass(source, outputs[0], row[bins], number)
            past.add(row)
        return found

    def _decode_pass(self, source, outputs: np.ndarray, row: np.ndarray, number: int) -> None:
        """Fill `row`, the bins of a pass, from their outputs `[bin, OUTPUTS]`."""
        (places,) = np.nonzero(entropy.decode_cells(source, probability(outputs[:, 0])))
        if not len(places):
            return
        outputs, most = outputs[places], self.layout.count[PASSES[number]][places]
        cosine, sine = (part[PASSES[number]][places] for part in turns(self.layout.bins, 0))
        positive = entropy.decode_cells(source, probability(outputs[:, 5] * cosine + outputs[:, 6] * sine))
        passed, (alive,) = np.ones(len(places), np.int16), np.nonzero(most > 1)
        further = probability(self._further(outputs))
        for threshold in range(1, int(np.max(most))):
            if not len(alive):
                break
            alive = alive[entropy.decode_cells(source, further[alive, threshold - 1])]
            passed[alive] += 1
            alive = alive[most[alive] > threshold + 1]
        row[places] = np.where(positive, passed, -passed)

    def _further(self, outputs: np.ndarray) -> np.ndarray:
        """Log odds of passing threshold 1, 2, ... (the first is 0), given that the one before is passed.

        `[cell, OUTPUTS]` -> `[cell, J - 1]`.
        """
        own, factor = self.further
        odds = outputs[:, 3:4] + ((outputs[:, 4:5] * factor) >> 8)
        odds[:, :2] = outputs[:, 1:3][:, : odds.shape[1]]
        return odds + own

    def _cells(self, magnitudes: np.ndarray, side: Side) -> tuple[np.ndarray, np.ndarray]:
        """All that has to be coded, in order, and its log odds."""
        evaluator, known = _Evaluator(self, side), known_inputs(magnitudes)
        evaluator.begin(past_inputs(magnitudes))
        order, cells, odds = [], [], []
        steps, bins = magnitudes.shape
        stages = int(np.max(self.layout.count)) + 1

        def add(
            number: int, step: np.ndarray, stage: int, bin: np.ndarray, cell: np.ndarray, logit: np.ndarray
        ) -> None:
            order.append(((step * 3 + number) * stages + stage) * bins + bin)
            cells.append(cell)
            odds.append(logit)

        seen = np.zeros(bins, np.int32)
        for number, chosen in enumerate(PASSES):
            outputs, own = evaluator.outputs(number, known * seen), magnitudes[:, chosen]
            place = np.arange(bins)[chosen]
            step, column = np.indices(own.shape)
            add(number, step.ravel(), 0, place[column.ravel()], (own != 0).ravel(), outputs[..., 0].ravel())
            step, column = np.nonzero(own)
            outputs, passed, bin = outputs[step, column], np.abs(own[step, column]), place[column]
            cosine, sine = (part[bin] for part in turns(bins, 0))
            sign = outputs[:, 5] * cosine + outputs[:, 6] * sine
            add(number, step, 1, bin, own[step, column] > 0, sign)
            further, count = self._further(outputs), self.layout.count[bin]
            for threshold in range(1, stages - 1):
                (asked,) = np.nonzero((passed >= threshold) & (count > threshold))
                add(
                    number,
                    step[asked],
                    threshold + 1,
                    bin[asked],
                    passed[asked] > threshold,
                    further[asked, threshold - 1],
                )
            seen[chosen] = 1
        sorting = np.argsort(np.concatenate(order), kind="stable")
        return np.concatenate(cells)[sorting], np.concatenate(odds)[sorting]


class _Evaluator:
    """The network at one level, on some steps at once. Bins that see no event have one answer, worked out once."""

    def __init__(self, model: ThermometerModel, side: Side):
        self.model = model
        code = 0 if side.level in (None, UNREACHED) else side.level
        whole = min((code + LEVEL_PARTS // 2) // LEVEL_PARTS, len(model.level) - 1)
        self.base = (model.bias.T + model.level[whole]).astype(np.float32)  # [K, H]
        hidden = len(model.past)
        self.past = model.past.transpose(2, 1, 0).reshape(-1, hidden).astype(np.float32)
        self.known = [part.transpose(2, 1, 0).reshape(-1, hidden).astype(np.float32) for part in model.known]
        self.middle = [part.T.astype(np.float32) for part in model.middle]
        self.output = [part.T.astype(np.float32) for part in model.output]
        self.silent = [self._top(number, self.base[chosen]) for number, chosen in enumerate(PASSES)]

    def begin(self, past: np.ndarray) -> None:
        """Take in int `[step, PAST_CHANNELS, bin]`."""
        self.active, rows = _neighbourhoods(past, self.model.past.shape[-1])
        self.sums = np.broadcast_to(self.base, (len(past), *self.base.shape)).copy()
        self.sums[self.active] += rows @ self.past

    def outputs(self, number: int, known: np.ndarray) -> np.ndarray:
        """Of a pass, int32 `[step, bin of the pass, OUTPUTS]`, given int `[step, KNOWN_CHANNELS, bin]`."""
        chosen = PASSES[number]
        sums, active = self.sums[:, chosen], self.active[:, chosen]
        if number:
            near, rows = _neighbourhoods(known, self.model.known.shape[-1], chosen)
            sums = sums.copy()
            sums[near] += rows @ self.known[number - 1]
            active = active | near
        result = np.broadcast_to(self.silent[number], (len(sums), *self.silent[number].shape)).copy()
        result[active] = self._top(number, sums[active])
        return result

    def _top(self, number: int, sums: np.ndarray) -> np.ndarray:
        """Sums of the first layer `[..., H]` -> outputs."""
        hidden = np.clip(_rounded(sums, INPUT * WEIGHT // ACTIVATION), 0, TOP_ACTIVATION)
        hidden = hidden @ self.middle[number] + self.model.middle_bias[number].astype(np.float32)
        hidden = np.clip(_rounded(hidden, WEIGHT), 0, TOP_ACTIVATION)
        result = hidden @ self.output[number] + self.model.output_bias[number].astype(np.float32)
        return np.clip(_rounded(result, ACTIVATION * WEIGHT // 256), -MAX_LOGIT, MAX_LOGIT).astype(np.int32)


def _neighbourhoods(
    inputs: np.ndarray, taps: int, chosen: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Which bins see anything, bool `[step, chosen bin]`, and what those see, float32 `[seeing, taps * channels]`."""
    steps, channels, bins = inputs.shape
    padded = np.zeros((steps, bins + taps - 1, channels), np.float32)
    padded[:, taps // 2 : taps // 2 + bins] = inputs.transpose(0, 2, 1)
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (steps, bins, taps * channels),
        (padded.strides[0], padded.strides[1], padded.strides[2]),
        writeable=False,
    )[:, chosen]
    there = np.cumsum(np.pad(padded.any(2), ((0, 0), (1, 0))), 1, dtype=np.int32)
    active = ((there[:, taps:] - there[:, :-taps]) > 0)[:, chosen]
    return active, windows[active]


def _rounded(sums: np.ndarray, unit: int) -> np.ndarray:
    return np.floor((sums + unit // 2) / unit)
