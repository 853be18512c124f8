"""The order in which a thermometer's entropy model codes cells, there and back.

Step by step and pass by pass: which bins of the pass have events; the signs of these; then whether threshold 1 is
passed by those that have one, whether threshold 2 is passed by those, and so on; each by rising bin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from snn_codec.levels import LEVEL_PARTS, UNREACHED
from snn_codec.storage import entropy
from snn_codec.storage.entropy_model.base import Coded, Side
from snn_codec.storage.entropy_model.network import MAX_LOGIT, models_of, probability, share
from snn_codec.storage.entropy_model.thermometer_inputs import PASSES, Past, Pasts, turns
from snn_codec.storage.entropy_model.thermometer_network import Network, Steps
from snn_codec.thermometer import Layout

FEW = 6  # thresholds whose models are made together


def cells_of(
    network: Network, layout: Layout, magnitudes: np.ndarray, side: Side
) -> tuple[np.ndarray, np.ndarray]:
    """All that has to be coded of signed int `[step, bin]`, bool `[n]` in order, and its log odds, int `[n]`."""
    levels = np.full(len(magnitudes), whole_level(network, side))
    steps = Steps(network, Pasts(magnitudes, network.past_taps // 2), network.at(levels))
    first, further = [], []
    for number, chosen in enumerate(PASSES):
        outputs, own = steps.outputs(number), magnitudes[:, chosen]
        steps.know(number, own)
        first.append((own != 0, outputs[..., 0]))
        further.append(_further_cells(network, layout, own, outputs, chosen))
    return _ordered(first, further)


class _FurtherCells(NamedTuple):
    """Signs and further thresholds of a pass, in order: their steps, cells and log odds, `[n]` each."""

    step: np.ndarray
    cells: np.ndarray
    odds: np.ndarray


def _further_cells(
    network: Network, layout: Layout, own: np.ndarray, outputs: np.ndarray, chosen: slice
) -> _FurtherCells:
    step, place = np.nonzero(own)
    outputs, signed = outputs[step, place], own[step, place]
    bin = place * chosen.step + chosen.start
    steps, cells, odds = [step], [signed > 0], [_sign_odds(layout.bins, outputs, bin)]
    passed, count, more = np.abs(signed), layout.count[bin], network.odds_of_more(outputs)
    asked = np.arange(len(step))
    for threshold in range(1, int(np.max(count, initial=0))):
        asked = asked[(passed[asked] >= threshold) & (count[asked] > threshold)]
        if not len(asked):
            break
        steps.append(step[asked])
        cells.append(passed[asked] > threshold)
        odds.append(more[asked, threshold - 1])
    order = np.argsort(np.concatenate(steps), kind="stable")  # thresholds and bins rise already
    return _FurtherCells(*(np.concatenate(parts)[order] for parts in (steps, cells, odds)))


def _ordered(
    first: list[tuple[np.ndarray, np.ndarray]], further: list[_FurtherCells]
) -> tuple[np.ndarray, np.ndarray]:
    """Cells and log odds in order; `first` are those of each pass that say which bins have events, `[step, bin]`."""
    steps = len(first[0][0])
    sizes = np.stack([np.bincount(part.step, minlength=steps) for part in further], 1)
    widths = np.array([cells.shape[1] for cells, _ in first])
    starts = np.cumsum(sizes + widths).reshape(sizes.shape) - sizes - widths
    total = int(sizes.sum() + steps * widths.sum())
    cells, odds = np.empty(total, bool), np.empty(total, np.int32)
    for number, (some, part) in enumerate(zip(first, further, strict=True)):
        start, width, size = starts[:, number], widths[number], sizes[:, number]
        places = start[:, None] + np.arange(width)
        cells[places], odds[places] = some
        before = (
            start + width - (np.cumsum(size) - size)
        )  # of a step's first such cell, without those of earlier steps
        places = before[part.step] + np.arange(len(part.step))
        cells[places], odds[places] = part.cells, part.odds
    return cells, odds


def _sign_odds(bins: int, outputs: np.ndarray, bin: np.ndarray) -> np.ndarray:
    """Log odds of a positive sign of these of all bins, of their outputs `[bin, OUTPUTS]`."""
    cosine, sine = turns(bins, 0)
    return outputs[:, 5] * cosine[bin] + outputs[:, 6] * sine[bin]


def whole_level(network: Network, side: Side) -> int:
    """The whole level whose bias a chunk has."""
    code = 0 if side.level in (None, UNREACHED) else side.level
    return min((code + LEVEL_PARTS // 2) // LEVEL_PARTS, network.levels - 1)


def walked(
    network: Network,
    bins: int,
    levels: np.ndarray,
    lengths: np.ndarray,
    take: Callable[[int, slice, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Chunks side by side, step by step and pass by pass, each seeing what was taken before.

    Args:
        network: The weights.
        bins: Number of bins.
        levels: The whole level of each chunk, int `[chunk]`.
        lengths: Steps of each chunk, the longest first, int `[chunk]`.
        take: (step, bins of the pass, their outputs `[chunk, bin, OUTPUTS]` of the chunks that are that long) -> signed
            numbers of thresholds, int16 `[chunk, bin]`.

    Returns:
        All of them, int16 `[chunk, step, bin]`.
    """
    biases, past = network.at(levels), Past(len(levels), bins, network.past_taps // 2)
    found = np.zeros((len(lengths), int(np.max(lengths, initial=0)), bins), np.int16)
    for step in range(found.shape[1]):
        count = int(np.count_nonzero(lengths > step))
        if count < len(past.padded):
            past = past.first(count)
        steps = Steps(network, past, biases.first(count))
        row = found[:count, step]
        for number, chosen in enumerate(PASSES):
            row[:, chosen] = take(step, chosen, steps.outputs(number))
            steps.know(number, row[:, chosen])
        past.add(row)
    return found


def costs_of_none(outputs: np.ndarray) -> np.ndarray:
    """Bits of no event, of outputs `[..., OUTPUTS]`."""
    return _bits(-outputs[..., 0])


def costs(
    network: Network, layout: Layout, outputs: np.ndarray, bin: np.ndarray, positive: np.ndarray
) -> np.ndarray:
    """Bits of each number of thresholds that a coefficient may pass.

    Args:
        network, layout: Of the entropy model.
        outputs: int `[cell, OUTPUTS]`.
        bin: Which bin of all, int `[cell]`.
        positive: The sign that it would have, bool `[cell]`.

    Returns:
        Of 0, 1, 2, ... thresholds, float64 `[cell, 1 + J]`; infinite for more than the bin has.
    """
    sign = _sign_odds(layout.bins, outputs, bin)
    some = _bits(outputs[:, 0]) + _bits(np.where(positive, sign, -sign))
    more = network.odds_of_more(outputs)
    count, passed = layout.count[bin][:, None], np.arange(1, more.shape[1] + 2)
    bits = np.empty((len(outputs), more.shape[1] + 2))
    bits[:, 0], bits[:, 1] = costs_of_none(outputs), some
    bits[:, 2:] = some[:, None] + np.cumsum(_bits(more), 1)
    bits[:, 1:-1] += np.where(passed[:-1] < count, _bits(-more), 0)
    bits[:, 1:][passed > count] = np.inf
    return bits


@lru_cache(maxsize=1)
def _table_of_bits() -> np.ndarray:
    return -np.log2(probability(np.arange(-MAX_LOGIT, MAX_LOGIT + 1)) / entropy.ONE)


def _bits(odds: np.ndarray) -> np.ndarray:
    """Bits of a cell that is true, of its log odds."""
    return _table_of_bits()[np.clip(odds, -MAX_LOGIT, MAX_LOGIT) + MAX_LOGIT]


class Decoding:
    """Chunks that are decoded side by side, step by step.

    Args:
        network, layout: Of the entropy model.
        chunks: What to decode.
    """

    def __init__(self, network: Network, layout: Layout, chunks: Sequence[Coded]):
        self.network, self.layout, self.least = network, layout, min(layout.count.tolist())
        # those with more steps first, so that the ones that go on are always the first
        self.order = sorted(range(len(chunks)), key=lambda number: -chunks[number].steps)
        self.chunks = [chunks[number] for number in self.order]
        self.sources = [entropy.decoder(chunk.data) for chunk in self.chunks]

    def run(self) -> list[np.ndarray]:
        """Signed int16 `[step, bin]` of each chunk, in the order in which they were given.

        Raises:
            entropy.EntropyError: One of them is not the code of any.
        """
        levels = np.array([whole_level(self.network, chunk.side) for chunk in self.chunks])
        lengths = np.array([chunk.steps for chunk in self.chunks])
        found = walked(
            self.network,
            self.layout.bins,
            levels,
            lengths,
            lambda step, chosen, outputs: self._pass(outputs, chosen),
        )
        results = dict(
            zip(self.order, (part[:steps] for part, steps in zip(found, lengths, strict=True)), strict=True)
        )
        return [results[number] for number in range(len(results))]

    def _pass(self, outputs: np.ndarray, chosen: slice) -> np.ndarray:
        """Signed int16 `[chunk, bin]` of a pass, of its outputs `[chunk, bin, OUTPUTS]`."""
        sources = self.sources[: len(outputs)]
        likely = share(outputs[..., 0])
        some = np.stack([entropy.decode_shares(*pair) for pair in zip(sources, likely, strict=True)])
        signed = np.zeros(some.shape, np.int16)
        chunk, place = np.nonzero(some)
        if not len(chunk):
            return signed
        bin = place * chosen.step + chosen.start
        outputs = outputs[chunk, place]
        signs = models_of(_sign_odds(self.layout.bins, outputs, bin)).tolist()
        further = _Further(self.network, outputs)
        count = self.layout.count[bin].tolist()
        bounds = np.searchsorted(chunk, np.arange(len(some) + 1)).tolist()
        found: list[int] = []
        try:
            for source, *part in zip(sources, bounds[:-1], bounds[1:], strict=True):
                found += _coefficients(source.decode, range(*part), signs, further, count, self.least)
        except AssertionError as error:
            raise entropy.EntropyError("the code is not one that an encoder makes") from error
        signed[chunk, place] = found
        return signed


class _Further(dict[int, list[Any]]):
    """The coder's models of whether a threshold (from 1) is passed by each coefficient, made when they are needed."""

    def __init__(self, network: Network, outputs: np.ndarray):
        super().__init__()
        self.network, self.outputs = network, outputs

    def __missing__(self, threshold: int) -> list[Any]:
        odds = self.network.odds_of_more(self.outputs, slice(threshold - 1, threshold - 1 + FEW))
        self.update(enumerate(models_of(odds).T.tolist(), threshold))
        return self[threshold]


def _coefficients(
    decode: Callable[[Any], int],
    numbers: range,
    signs: list[Any],
    further: _Further,
    count: list[int],
    least: int,
) -> list[int]:
    """Signed numbers of thresholds passed by the coefficients of these numbers, which have events.

    A call for each cell: few are asked at a time, and a call for several takes as long as a dozen.
    """
    positive = [decode(signs[number]) for number in numbers]
    passed, asked, start = [1] * len(numbers), list(numbers), numbers.start
    threshold = 1
    while asked:
        if threshold >= least:  # some have no more thresholds
            asked = [number for number in asked if count[number] > threshold]
        models = further[threshold] if asked else []
        asked = [number for number in asked if decode(models[number])]
        threshold += 1
        for number in asked:
            passed[number - start] = threshold
    return [number if sign else -number for number, sign in zip(passed, positive, strict=True)]
