"""The network of a codec: encoder, bottleneck and decoder, composed, with layers on both sides of the bottleneck.

    audio -> encoder -> before -> bottleneck -> events -> bottleneck -> after -> decoder -> audio

`snn_codec.settings.Model` says which parts there are. The settings of a part may declare what it needs beyond that:

- `takes_level = True`: its network is called with `level=`, `[batch, 1]` or `[batch, step]` (so are `encode`, `decode`
  and `search_step` of a bottleneck), and applies it itself, e.g. by scaling the steps of its quantiser. Then
  `before` and `after` have no embedding of levels.
- `takes_spikes = True`, of a decoder: its network is given the events `[batch, unit, step]` in place of features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snn_codec.cells import Cells, Sparse, unit_type
from snn_codec.levels import numbers
from snn_codec.models.conformer import ConformerStack
from snn_codec.parallel import one_thread
from snn_codec.settings import Model, ModelPart, identity
from snn_codec.weights import digest


class Output(NamedTuple):
    """What a training step needs: the decoded audio, the spikes, and the bottleneck's relative residual."""

    audio: Tensor
    spikes: Tensor
    residual: Tensor


class Network(nn.Module):
    """Audio -> events -> audio, of normalised loudness.

    Args:
        model: Which parts, their sizes, and the grid that they share.

    Raises:
        UserError: Settings that contradict each other, or a part's package is missing.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.settings = model
        parts = (model.encoder, model.bottleneck, model.decoder)
        self._embeds_level = model.levels > 0 and not any(part.takes_level for part in parts)
        embedded = model.levels if self._embeds_level else 0
        self.encoder = model.encoder.build_encoder(model)
        self.before = ConformerStack(model.encoder.width, embedded, model.conformer)
        self.bottleneck = model.bottleneck.build_bottleneck(model)
        self.after = ConformerStack(model.encoder.width, embedded, model.conformer)
        self.decoder = model.decoder.build_decoder(model)

    def forward(self, audio: Tensor, level: Tensor | None = None) -> Output:
        """Normalised audio `[batch, samples]`, levels `[batch, 1]` or None -> what the training loss needs."""
        features = self.analyse(audio, level)
        quantised, spikes, residual = self.bottleneck(features, **level_of(self.settings.bottleneck, level))
        inputs = spikes if self.takes_spikes else self.refine(quantised, level)
        return Output(self.synthesise(inputs, level)[:, : audio.shape[-1]], spikes, residual)

    def analyse(self, audio: Tensor, level: Tensor | None = None) -> Tensor:
        """Audio `[batch, samples]` -> the features `[batch, step, width]` that the bottleneck sees."""
        features = self.encoder(audio, **level_of(self.settings.encoder, level))
        return self.before(features, self._embedded(level))

    def quantise(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Features `[batch, step, width]` -> spikes `[batch, unit, step]`, 0 or 1."""
        return self.bottleneck.encode(features, **level_of(self.settings.bottleneck, level))

    def quantise_sparse(self, features: Tensor, level: Tensor | None = None) -> list[Sparse]:
        """As `quantise`, as lists of events, which takes less time and memory if the bottleneck lists them itself."""
        batch, step, unit = (part.cpu().numpy() for part in self.bottleneck.indices(features))
        bounds = np.searchsorted(batch, np.arange(len(features) + 1))
        found = []
        for first, last in zip(bounds[:-1], bounds[1:], strict=True):
            pointers = np.searchsorted(step[first:last], np.arange(features.shape[1] + 1))
            units = unit[first:last].astype(unit_type(self.settings.units))
            found.append(Sparse(self.settings.units, pointers, units))
        return found

    @property
    def lists_events(self) -> bool:
        """Whether `quantise_sparse` and `dequantise_sparse` can be used: few of many units have events."""
        return hasattr(self.bottleneck, "decode_indices") and not self.takes_spikes

    def dequantise_sparse(self, events: Cells, level: Tensor | None = None) -> Tensor:
        """As `dequantise`, of the events of one recording: features `[1, step, width]`."""
        step, unit = (torch.from_numpy(part).to(self.device) for part in events.indices())
        return self.refine(self.bottleneck.decode_indices(step, unit, events.shape[1]), level)

    def dequantise(self, spikes: Tensor, level: Tensor | None = None) -> Tensor:
        """Spikes `[batch, unit, step]` -> what the decoder sees: features `[batch, step, width]`, or the spikes."""
        if self.takes_spikes:
            return spikes
        return self.refine(self.reconstruct(spikes, level), level)

    def reconstruct(self, spikes: Tensor, level: Tensor | None = None) -> Tensor:
        """Spikes `[batch, unit, step]` -> features `[batch, step, width]`, straight from the bottleneck."""
        return self.bottleneck.decode(spikes, **level_of(self.settings.bottleneck, level))

    def refine(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Features from the bottleneck -> features for the decoder, `[batch, step, width]` both."""
        return self.after(features, self._embedded(level))

    def synthesise(self, inputs: Tensor, level: Tensor | None = None) -> Tensor:
        """What `dequantise` gives -> audio `[batch, step * hop]`."""
        return self.decoder(inputs, **level_of(self.settings.decoder, level))

    def spikes_at(self, audio: Tensor) -> Callable[[Tensor], Tensor]:
        """The spikes of audio `[1, samples]` as a function of levels `[n, 1]`: `[n, unit, step]`.

        What does not depend on the level is computed once.
        """
        if self.settings.encoder.takes_level:
            return lambda level: self.quantise(self.analyse(audio.expand(len(level), -1), level), level)
        features = self.encoder(audio)

        def spikes(level: Tensor) -> Tensor:
            same = features.expand(len(level), -1, -1)
            return self.quantise(self.before(same, self._embedded(level)), level)

        return spikes

    def search_step(self, features: Tensor, level: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features -> (reconstruction, spikes), with the gradient that a search climbs (`snn_codec.search`)."""
        return self.bottleneck.search_step(features, **level_of(self.settings.bottleneck, level))

    @property
    def takes_spikes(self) -> bool:
        """Whether the decoder is given the events themselves."""
        return self.settings.decoder.takes_spikes

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for the weights and settings; events carry them."""
        return digest(identity(self.settings), self.state_dict())

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Batch norm by running statistics inside the block, whatever mode the network is in."""
        if not any(module.training for module in self.modules()):  # a look is much quicker than a change
            yield
            return
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """As `evaluating`, without gradients, and on one thread where events are listed: many small steps, for which
        threads would wait longer than they work."""
        with torch.inference_mode(), self.evaluating(), one_thread() if self.lists_events else nullcontext():
            yield

    def level_tensor(self, codes: np.ndarray) -> Tensor | None:
        """Codes of levels, `[batch, step or 1]`, as the networks want them; None if the model has no levels."""
        if not codes.size:
            return None
        return torch.from_numpy(numbers(codes)).to(self.device)

    def _embedded(self, level: Tensor | None) -> Tensor | None:
        return level if self._embeds_level else None


def level_of(part: ModelPart, level: Tensor | None) -> dict[str, Any]:
    """The levels as arguments for the network of a part: none, if it does not take them."""
    return {"level": level} if part.takes_level else {}
