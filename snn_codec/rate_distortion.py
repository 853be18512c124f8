"""The search of a thermometer: events chosen for what they bring and cost.

A coefficient's threshold is fixed; what its events cost is not. The search goes through a chunk in the order in which
the entropy model codes it and takes, of each coefficient, the number of thresholds m that has the least

    (x - share c - r(m))^2 + price bits(m),

with x the feature, r(m) what m thresholds read out, bits(m) by the entropy model given all that was chosen before, and
c what the decoder's refinement added in the pass before. (It adds something else to other events, hence the share.) m
is the nearest to x - share c, one less, or 0. After each pass, the error of x - c - r(m) and all bits are counted, and
the best pass is kept, the encoder's own events among them.

Chunks do not depend on each other, and all is worked out on one thread, so that events do not depend on blocks, batches
or threads.

Departs: the paper has no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from snn_codec.cells import Sparse
from snn_codec.chunks import Window, batches
from snn_codec.errors import UserError
from snn_codec.models.network import Network
from snn_codec.storage.entropy_model import EntropyModel, Side, ThermometerModel
from snn_codec.storage.entropy_model.thermometer_coding import costs, costs_of_none, walked, whole_level

PRICE = 0.065  # of a bit, in squared steps of the quantiser
SHARE = 0.6  # of what the refinement adds
TOGETHER = 16  # chunks that the entropy model sees at once


class Choice:
    """The search with one network (`snn_codec.search.searcher` makes one).

    Args:
        network: Of a thermometer.
        steps: Passes over each chunk, at most; a chunk's last is the first that makes it no better.
        entropy_model: What events cost by.
        price: What a bit has to bring, in squared steps.

    Raises:
        UserError: There is no entropy model of a thermometer.
    """

    def __init__(
        self,
        network: Network,
        steps: int,
        entropy_model: EntropyModel | None = None,
        price: float = PRICE,
    ):
        if not isinstance(entropy_model, ThermometerModel):
            raise UserError(
                "a search for the events of a thermometer needs the checkpoint's entropy model; "
                "train one with snn-codec train-entropy, or leave out the search"
            )
        self.network, self.steps, self.model, self.price = network, steps, entropy_model, price
        self.layout = entropy_model.layout
        with torch.no_grad():
            said = network.bottleneck.increments.double().cumsum(0).cpu().numpy()
            self.scale = network.bottleneck.scale().double().cpu().numpy()
        self.said = np.concatenate([[0.0], said])

    def nothing(self) -> Sparse:
        """As `snn_codec.search.Searcher` has it."""
        return self.layout.cells(np.zeros((0, self.layout.bins), np.int16))

    def __call__(self, window: Window, codes: np.ndarray, past: object) -> tuple[Sparse, np.ndarray]:
        """As `snn_codec.search.Searcher` has it; what is before the chunk makes no difference."""
        code = codes[1:2] if codes.size else np.zeros(1, np.uint8)
        with self.network.computing():
            chunk = _Chunk(self, window, int(code[0]))
            self._choose([chunk])
            sound = self.network.synthesise(chunk.read_out(), chunk.level)
        return self.layout.cells(chunk.best), sound[0, : len(window.audio)].float().cpu().numpy()

    def searched(
        self, windows: Iterable[Window], codes_of: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Window, Sparse]]:
        """As `snn_codec.search.Searcher` has it; some chunks are searched together."""
        done = 0
        for batch in batches(windows, TOGETHER):
            codes = codes_of(done + len(batch))[done:]
            done += len(batch)
            with self.network.computing():
                chunks = [
                    _Chunk(self, *pair)
                    for pair in zip(batch, codes.tolist() or [0] * len(batch), strict=True)
                ]
                for _, group in groupby(chunks, lambda chunk: chunk.window.steps):
                    self._choose(list(group))
            yield from ((chunk.window, self.layout.cells(chunk.best)) for chunk in chunks)

    def _choose(self, chunks: Sequence[_Chunk]) -> None:
        """Find the best events of chunks of as many steps."""
        for chunk in chunks:
            bits = self.model.bits(self.layout.cells(chunk.best), chunk.side)
            chunk.take(chunk.best, bits)
        for _ in range(self.steps):
            target = np.stack([chunk.features - SHARE * chunk.added for chunk in chunks])
            passed = zip(chunks, *self._pass(target, chunks), strict=True)
            chunks = [chunk for chunk, signed, bits in passed if chunk.take(signed, bits)]
            if not chunks:
                break

    def _pass(self, target: np.ndarray, chunks: Sequence[_Chunk]) -> tuple[np.ndarray, np.ndarray]:
        """Of features `[chunk, step, bin]`: signed int16 of the same shape, and bits `[chunk]`."""
        network, middles = self.model.network, (self.said[1:] + self.said[:-1]) / 2
        size = np.abs(target) / self.scale
        nearest = np.minimum(np.searchsorted(middles, size), self.layout.count)
        positive, bits = target > 0, np.zeros(len(target))

        def take(step: int, chosen: slice, outputs: np.ndarray) -> np.ndarray:
            passed = nearest[:, step, chosen]
            none = costs_of_none(outputs)
            chunk, place = np.nonzero(passed)
            bin = place * chosen.step + chosen.start
            at = chunk, step, bin
            price = costs(network, self.layout, outputs[chunk, place], bin, positive[at])
            options = np.stack([passed[chunk, place], passed[chunk, place] - 1, np.zeros_like(chunk)], 1)
            cost = np.take_along_axis(price, options, 1)
            error = (self.scale[bin, None] * (size[at][:, None] - self.said[options])) ** 2
            best = np.argmin(error + self.price * cost, 1)[:, None]
            signed = np.zeros(passed.shape, np.int16)
            signed[chunk, place] = np.where(positive[at], 1, -1) * np.take_along_axis(options, best, 1)[:, 0]
            none[chunk, place] = np.take_along_axis(cost, best, 1)[:, 0]
            bits[:] += none.sum(1)
            return signed

        levels = np.array([whole_level(network, chunk.side) for chunk in chunks])
        lengths = np.full(len(target), target.shape[1])
        return walked(network, self.layout.bins, levels, lengths, take), bits


class _Chunk:
    """A chunk in the search.

    Attributes:
        features: Of its steps, float64 `[step, bin]`.
        added: What the refinement adds to the events of the last pass, `[step, bin]`.
        best: Signed numbers of thresholds of the best pass, of the encoder at first, int16 `[step, bin]`.
        level: As a tensor, `[1, 1]` or None.
    """

    def __init__(self, choice: Choice, window: Window, code: int):
        network = choice.network
        self.choice, self.window = choice, window
        self.side = Side(window.loudness, code if network.settings.levels else None)
        self.level = network.level_tensor(np.array([[code]], np.uint8)) if network.settings.levels else None
        audio = torch.from_numpy(window.audio[None]).to(network.device)
        features = network.analyse(audio, self.level).float()
        self.centre = slice(window.before, window.before + window.steps)
        self.features = features[0, self.centre].double().cpu().numpy()
        around = network.bottleneck.magnitudes(features)
        self.best = around[0, self.centre].cpu().numpy()
        self.plain = network.bottleneck.quantise(features)
        self.score = np.inf

    def take(self, signed: np.ndarray, bits: float) -> bool:
        """Take in what a pass has chosen; keep it, and say so, if it is the best."""
        choice = self.choice
        decoder, read = choice.network.decoder, self.read_out(signed)
        if hasattr(decoder, "added"):
            self.added = decoder.added(read, self.level)[0, self.centre].double().cpu().numpy()
        else:
            self.added = np.zeros_like(self.features)
        error = self.features - self.added - read[0, self.centre].double().cpu().numpy()
        score = float(np.square(error).sum() + choice.price * bits)
        if score >= self.score:
            return False
        self.score, self.best = score, signed
        return True

    def read_out(self, signed: np.ndarray | None = None) -> Tensor:
        """What the decoder sees of the window, `[1, step, bin]`; around the chunk, events are the encoder's."""
        choice, signed = self.choice, self.best if signed is None else signed
        read = choice.said[np.abs(signed)] * np.sign(signed) * choice.scale
        whole = self.plain.clone()
        whole[0, self.centre] = torch.from_numpy(read).to(whole)
        return choice.network.refine(whole, self.level)
