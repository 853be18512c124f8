"""The learned model of the fifth format: a small integer network that knows how a checkpoint's events go on.

It sees the last `history` steps of all units (as +1 and -1, and 0 before the chunk begins), and gives every
unit of the next step a logit; each event among the earlier units of the same step then adds a column of
`same_step` to the logits of the units after it:

    f_0 = last steps;   f_k = relu(W_k f_(k-1) + b_k);   logits = W [f_0, f_1, ...] + b + same_step z

All numbers are integers in units of 1 / 256. They are kept in float64, in which sums and products of integers
below 2^53 are exact in any order, so that every machine, BLAS and Python gets the same logits; `EntropyNetwork`
refuses weights that could leave that range. Training is in `snn_codec.training.rate`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from snn_codec.storage import entropy
from snn_codec.storage.entropy_model.base import NO_SIDE, EntropyModel, Side

UNIT = 256  # the integer that stands for 1
MAX_ACTIVATION = 2**15 - 1
MAX_LOGIT = 12 * UNIT  # of one unit before same_step is added; exp(-11.1) is the least probability there is
MAX_LAYERS = 8


@dataclass(frozen=True, eq=False)
class EntropyNetwork(EntropyModel):
    """The integer network of one checkpoint.

    Attributes:
        history: L, the steps that it looks back.
        layers: Weight int16 `[wide, narrow]` and bias int32 `[wide]` of each hidden layer; the first takes
            `[L N]` inputs, the last step first.
        output: Weight int16 `[N, L N + all hidden]` and bias int32 `[N]`.
        same_step: int16 `[N, N]`, zero on and above the diagonal.
        checkpoint: Fingerprint of the checkpoint whose events it was trained on; "" if not known.

    Raises:
        ValueError: Arrays of other types or of shapes that do not fit together.
    """

    KIND: ClassVar[str] = "snn_codec.context"
    VERSION: ClassVar[str] = "1"
    CHUNK_FORMAT: ClassVar[str] = "learned"

    history: int
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    output: tuple[np.ndarray, np.ndarray]
    same_step: np.ndarray
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if self.history < 1 or len(self.layers) > MAX_LAYERS:
            raise ValueError("the network needs a history, and no more than 8 layers")
        width = total = self.history * self.n_units
        for weight, bias in self.layers:
            _check_layer(weight, bias, (len(bias), width))
            width = len(bias)
            total += width
        _check_layer(*self.output, (self.n_units, total))
        same = self.same_step
        if same.dtype != np.int16 or same.shape != (self.n_units,) * 2 or np.triu(same).any():
            raise ValueError("same_step must be int16 [units, units] below the diagonal")
        if total * MAX_ACTIVATION * 2**15 + 2**31 >= 2**53:
            raise ValueError("the network is too wide to be exact")

    @property
    def n_units(self) -> int:
        """N, the number of units."""
        return len(self.output[1])

    def encode(self, events: np.ndarray, side: Side = NO_SIDE) -> bytes:
        """Code of a bool matrix `[N, steps]`."""
        return entropy.encode_cells(events.T.ravel(), self._probabilities(events).ravel())

    def decode(self, data: bytes, steps: int, side: Side = NO_SIDE) -> np.ndarray:
        """The bool matrix `[N, steps]` that `encode` made `data` of.

        Raises:
            entropy.EntropyError: There is none.
        """
        source = entropy.decoder(data)
        decode, columns, models = source.decode, self._columns, self._models
        events = np.zeros((steps, self.n_units), bool)
        recent = np.zeros(self.history * self.n_units)
        units = range(self.n_units)
        try:
            for row in events:
                logits = self._logits(recent[None])[0] + self._reach
                cells = logits.item
                for unit in units:
                    if decode(models[cells(unit)]):
                        row[unit] = True
                        logits += columns[unit]
                recent[self.n_units :] = recent[: -self.n_units]
                recent[: self.n_units] = np.where(row, UNIT, -UNIT)
        except AssertionError as error:
            raise entropy.EntropyError("the code is not one that an encoder makes") from error
        return events.T

    def probabilities(self, events: np.ndarray) -> np.ndarray:
        """Of an event in each cell of a bool matrix `[N, steps]`, given those before it: float64 `[N, steps]`."""
        return self._probabilities(events).T / entropy.ONE

    def bits(self, events: np.ndarray, side: Side = NO_SIDE) -> float:
        """Ideal bits of a bool matrix `[N, steps]`: the sum of -log2 of the probabilities."""
        return entropy.ideal_bits(events.T.ravel(), self._probabilities(events).ravel())

    def settings(self) -> dict[str, str]:
        """See `EntropyModel`."""
        return {"history": json.dumps(self.history)}

    def tensors(self) -> dict[str, np.ndarray]:
        """See `EntropyModel`."""
        tensors = {
            "output.weight": self.output[0],
            "output.bias": self.output[1],
            "same_step": self.same_step,
        }
        for number, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layer{number}.weight": weight, f"layer{number}.bias": bias}
        return tensors

    @classmethod
    def from_parts(
        cls, settings: Mapping[str, str], tensors: Mapping[str, np.ndarray], checkpoint: str
    ) -> EntropyNetwork:
        """See `EntropyModel`."""
        layers = (len(tensors) - 3) // 2
        return cls(
            json.loads(settings["history"]),
            tuple((tensors[f"layer{k}.weight"], tensors[f"layer{k}.bias"]) for k in range(layers)),
            (tensors["output.weight"], tensors["output.bias"]),
            tensors["same_step"],
            checkpoint,
        )

    @cached_property
    def _exact(self) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
        """Transposed weights and biases as float64, the biases in units of 1 / 256^2."""
        parts = [(weight.T.astype(float), bias.astype(float) * UNIT) for weight, bias in self.layers]
        return parts, self.output[0].T.astype(float), self.output[1].astype(float) * UNIT

    @cached_property
    def _columns(self) -> list[np.ndarray]:
        """What an event of each unit adds to the logits of its step."""
        return list(np.ascontiguousarray(self.same_step.T, np.int64))

    @cached_property
    def _reach(self) -> int:
        """The farthest from zero that a logit can get."""
        return MAX_LOGIT + int(np.abs(self.same_step.astype(np.int64)).sum(1).max())

    @cached_property
    def _models(self) -> list:
        """The coder's model of a cell for every logit from -reach to reach."""
        beyond, models = self._reach - MAX_LOGIT, cell_models()
        return [models[0]] * beyond + models + [models[-1]] * beyond

    def _logits(self, recent: np.ndarray) -> np.ndarray:
        """Of all units before same_step: int64 `[steps, N]`, from the last steps `[steps, L N]` as +-256."""
        hidden, weight, bias = self._exact
        features = [recent]
        for layer, offset in hidden:
            drive = np.floor((features[-1] @ layer + offset) / UNIT)
            features.append(np.minimum(np.maximum(drive, 0), MAX_ACTIVATION))
        logits = np.floor((np.concatenate(features, 1) @ weight + bias) / UNIT)
        return np.minimum(np.maximum(logits, -MAX_LOGIT), MAX_LOGIT).astype(np.int64)

    def _probabilities(self, events: np.ndarray) -> np.ndarray:
        """Of every cell, int64 `[steps, N]`."""
        units, steps = events.shape
        if units != self.n_units:
            raise ValueError(f"the entropy model is for {self.n_units} units, not {units}")
        signs = np.where(events.T, float(UNIT), -float(UNIT))
        recent = np.zeros((steps, self.history, units))
        for back in range(1, min(self.history, steps - 1) + 1):
            recent[back:, back - 1] = signs[:-back]
        same = events.T.astype(float) @ self.same_step.T.astype(float)
        return probability(self._logits(recent.reshape(steps, -1)) + same.astype(np.int64))


@lru_cache(maxsize=1)
def _sigmoid() -> np.ndarray:
    """65536 / (1 + exp(-l / 256)) rounded, for l from -MAX_LOGIT to MAX_LOGIT.

    No value is within 1e-5 of a rounding border (a test checks it), so every exp gives the same table.
    """
    logits = np.arange(-MAX_LOGIT, MAX_LOGIT + 1)
    values = np.rint(entropy.ONE / (1 + np.exp(-logits / UNIT))).astype(np.int64)
    return np.clip(values, 1, entropy.ONE - 1)


def probability(logits: np.ndarray) -> np.ndarray:
    """Logits in units of 1 / 256 as probabilities in 1..65535."""
    return _sigmoid()[np.clip(logits, -MAX_LOGIT, MAX_LOGIT) + MAX_LOGIT]


@lru_cache(maxsize=1)
def _shares() -> np.ndarray:
    return (_sigmoid() / entropy.ONE).astype(np.float32)


def share(logits: np.ndarray) -> np.ndarray:
    """As `probability`, in units of one, float32: what the range coder takes."""
    return _shares().take(logits + MAX_LOGIT, mode="clip")


@lru_cache(maxsize=1)
def cell_models() -> list:
    """The coder's model of a cell for every logit from -MAX_LOGIT to MAX_LOGIT."""
    values, places = np.unique(_sigmoid(), return_inverse=True)
    known = [entropy.Bernoulli(value / entropy.ONE, perfect=False) for value in values.tolist()]
    return [known[place] for place in places.tolist()]


@lru_cache(maxsize=1)
def _model_array() -> np.ndarray:
    return np.array(cell_models(), object)


def models_of(logits: np.ndarray) -> np.ndarray:
    """The coder's models of cells of these logits, array of objects."""
    return _model_array().take(logits + MAX_LOGIT, mode="clip")


def _check_layer(weight: np.ndarray, bias: np.ndarray, shape: tuple[int, int]) -> None:
    if weight.dtype != np.int16 or bias.dtype != np.int32 or weight.shape != shape or bias.shape != shape[:1]:
        raise ValueError(f"a layer must be int16 {list(shape)} and int32 {list(shape[:1])}")
