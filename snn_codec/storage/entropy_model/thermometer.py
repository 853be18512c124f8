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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar

import numpy as np

from snn_codec.cells import Cells, Dense, Sparse
from snn_codec.storage import entropy
from snn_codec.storage.entropy_model.base import NO_SIDE, Coded, EntropyModel, Side
from snn_codec.storage.entropy_model.network import probability
from snn_codec.storage.entropy_model.thermometer_coding import Decoding, cells_of
from snn_codec.storage.entropy_model.thermometer_inputs import (
    KNOWN_CHANNELS,
    MAX_MAGNITUDE,
    PAST_CHANNELS,
    TOP_INPUT,
)
from snn_codec.storage.entropy_model.thermometer_network import OUTPUTS, TOP_ACTIVATION, Network
from snn_codec.thermometer import Layout

EXACT = 2**24


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

    def encode(self, events: np.ndarray | Sparse, side: Side = NO_SIDE) -> bytes | None:
        """Code of a matrix `[N, steps]`; None if no coefficients have these events."""
        signed = self._signed(events)
        if signed is None:
            return None
        cells, odds = cells_of(self.network, self.layout, signed, side)
        return entropy.encode_cells(cells, probability(odds))

    encode_sparse = encode

    def bits(self, events: np.ndarray | Sparse, side: Side = NO_SIDE) -> float:
        """Ideal bits of `encode`; infinite if no coefficients have these events."""
        signed = self._signed(events)
        if signed is None:
            return np.inf
        cells, odds = cells_of(self.network, self.layout, signed, side)
        return entropy.ideal_bits(cells, probability(odds))

    def decode(self, data: bytes, steps: int, side: Side = NO_SIDE) -> np.ndarray:
        """The bool matrix `[N, steps]` that `encode` made `data` of, with the same `side`.

        Raises:
            entropy.EntropyError: There is none.
        """
        return self.layout.events(Decoding(self.network, self.layout, [Coded(data, steps, side)]).run()[0])

    def decode_several(self, chunks: Sequence[Coded]) -> list[Cells]:
        """See `EntropyModel`. Chunks go side by side, step by step: many times as quick as one by one."""
        if not chunks:
            return []
        decoding = Decoding(self.network, self.layout, chunks)
        return [self.layout.cells(signed) for signed in decoding.run()]

    def _signed(self, events: np.ndarray | Sparse) -> np.ndarray | None:
        """Signed numbers of thresholds passed, int16 `[step, bin]`; None if no coefficients have these events."""
        cells = events if isinstance(events, Sparse) else Dense(events)
        return self.layout.magnitudes_of(*cells.indices(), cells.shape[1])

    @cached_property
    def network(self) -> Network:
        """The weights, ready for use."""
        return Network(self.tensors())
