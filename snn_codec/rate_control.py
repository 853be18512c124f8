"""How few events are enough: the level for a rate, and the paper's guarantee of quality (section "mu-SPARSE").

Both need a model with levels. A rate is met by one level for the whole recording, found by interpolation
and halving on the true bytes of its bitstream; more than one would need more bytes for the same quality. The guarantee
takes, chunk by chunk, the level with the fewest bytes whose decoded chunk has at least the SI-SNR asked for, as the
sender of the paper does; what is decoded in the end is measured again, because neighbouring chunks reach into each
other. It is measured as the plain decoder's sound is written, clipped and rounded to 16 bits, which is much of a very
soft recording.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from snn_codec.audio import as_written, resampled
from snn_codec.chunks import Grid, Window, reblocked, windows
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.levels import LEVEL_PARTS, UNREACHED
from snn_codec.metrics import si_snr
from snn_codec.models.network import Network
from snn_codec.search import Searcher, searcher
from snn_codec.storage import spk
from snn_codec.storage.entropy_model import Side

Blocks = Callable[[], Iterable[np.ndarray]]  # reads the recording from its start, each time it is called
TOLERANCE = 0.05
CLOSE_ENOUGH = 0.005


class Rated(NamedTuple):
    """Events, and the true rate of their bitstream in kbps."""

    events: EventMatrix
    kbps: float


def at_rate(
    codec: Codec,
    blocks: Blocks,
    sample_rate: int,
    wanted: float,
    *,
    batch_size: int = 1,
    search: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Rated:
    """Events whose bitstream has the rate `wanted` to within 5 %, header included.

    Args:
        codec: A model with levels.
        blocks: The recording, readable again and again.
        sample_rate: Of the blocks, in Hz.
        wanted: What to meet, in kbps.
        batch_size: Chunks computed at once.
        search: Steps of the search for better events, at each level that is tried (`snn_codec.search`).
        progress: Called with the share of the work that is done.

    Raises:
        UserError: No level comes that near; the message names the rates that can be had. Or as `Codec.encode`.
    """
    low, high, rates = 0, _top(codec), dict[int, float]()
    if not wanted > 0:
        raise UserError(f"a rate of {wanted} kbps cannot be met; give more than 0")
    how: dict[str, Any] = {"batch_size": batch_size, "search": search}

    def off(rate: float) -> float:
        return abs(rate / wanted - 1)

    def nearer(code: int, best: Rated | None = None) -> Rated:
        """The best until now, or this level; the events of all of them would be too much to hold."""
        events = codec.encode_blocks(blocks(), sample_rate, level=code / LEVEL_PARTS, **how)
        rates[code] = kbps(codec, events)
        progress(min(1.0, len(rates) / 10))
        return best if best and off(best.kbps) <= off(rates[code]) else Rated(events, rates[code])

    # more events at lower levels
    best = nearer(low)
    best = nearer(high, best) if high > low else best
    most, least = rates[low], rates[high]
    if most > wanted > least:
        while high - low > 1 and off(best.kbps) > CLOSE_ENOUGH:
            middle = (low + high) // 2
            if len(rates) % 2 == 0:
                # most models' rates fall evenly on a logarithmic axis; halving bounds the others
                falls = np.log(rates[low] / np.array([wanted, rates[high]]))
                guess = low + round((high - low) * falls[0] / falls[1])
                middle = min(max(guess, low + 1), high - 1)
            best = nearer(middle, best)
            low, high = (middle, high) if rates[middle] > wanted else (low, middle)
    if off(best.kbps) > TOLERANCE:
        raise UserError(
            f"no level of this model has {wanted:g} kbps on this recording: its levels have {least:.2f} to "
            f"{most:.2f} kbps, the nearest {best.kbps:.2f}; ask for that"
        )
    progress(1.0)
    return best


class Guaranteed(NamedTuple):
    """Events, the SI-SNR of each decoded chunk, and the numbers of those that no level could lift."""

    events: EventMatrix
    si_snr: np.ndarray
    unreached: list[int]


def at_quality(
    codec: Codec,
    blocks: Blocks,
    sample_rate: int,
    min_si_snr: float,
    *,
    search: int = 0,
    progress: Callable[[float], None] = lambda seconds: None,
) -> Guaranteed:
    """Events with the fewest bytes, chunk by chunk, that decode with at least `min_si_snr` dB in each chunk.

    Chunks that no level lifts that far have the most events, and are marked in `EventMatrix.levels`; silent
    ones, which have no SI-SNR, have the fewest. Memory is bounded but for the events.

    Args:
        codec: A model with levels.
        blocks: The recording, readable again and again.
        sample_rate: Of the blocks, in Hz.
        min_si_snr: What each chunk must have, in dB.
        search: Steps of the search for better events, at each of the nine levels a chunk that are then tried
            (`snn_codec.search`).
        progress: Called with the seconds of audio searched.

    Raises:
        UserError: The model has no levels, or as `Codec.encode`.
    """
    top = _top(codec)
    if not math.isfinite(min_si_snr):
        raise UserError(f"{min_si_snr} dB cannot be reached; give a finite SI-SNR")
    rate, chunk_samples = codec.settings.sample_rate, codec.settings.chunk_steps * codec.settings.hop
    codes = []
    source = resampled(blocks(), sample_rate, rate)
    if search:
        enough = _highest_searched(searcher(codec, search, codec.entropy_model), source, min_si_snr)
    else:
        enough = _cheapest(codec, source, min_si_snr)
    for code in enough:
        codes.append(code)
        progress(len(codes) * chunk_samples / rate)
    chosen = np.array(codes, np.uint8)
    while True:
        events = codec.encode_blocks(blocks(), sample_rate, level=chosen, search=search)
        reached = _chunk_si_snr(codec, events, resampled(blocks(), sample_rate, rate))
        low = (reached < min_si_snr) & (chosen != UNREACHED)  # silence, NaN, is never low
        if not low.any():
            return Guaranteed(events, reached, np.flatnonzero(chosen == UNREACHED).tolist())
        # half a level more; below 0 there is none
        steps = chosen.astype(int) - LEVEL_PARTS // 2
        down = np.where(chosen == 0, UNREACHED, np.clip(steps, 0, top)).astype(np.uint8)
        chosen = np.where(low, down, chosen)


def _top(codec: Network) -> int:
    if not codec.settings.levels:
        raise UserError("this model has no levels; use --model wide or mu-sparse, or train one")
    return (codec.settings.levels - 1) * LEVEL_PARTS


def kbps(codec: Codec, events: EventMatrix) -> float:
    """The true rate of a bitstream of these events, everything in it counted."""
    file = io.BytesIO()
    spk.write(file, events, entropy_model=codec.entropy_model)
    return events.kbps(len(file.getvalue()))


def _cheapest(codec: Codec, blocks: Iterable[np.ndarray], min_si_snr: float) -> Iterator[int]:
    """For each chunk, the code with the fewest bytes that reaches the quality, as if its neighbours had it, too."""
    top = _top(codec)
    for window in windows(blocks, Grid.of(codec.settings)):
        audio = torch.from_numpy(window.audio[None]).to(codec.device)
        if not window.audio[_own(window, codec)].any():
            yield top
            continue
        with codec.computing():  # or autograd would keep the encoder's graph
            spikes_at = codec.spikes_at(audio)
        good = partial(_good, codec, spikes_at, window, min_si_snr)
        if codec.settings.encoder.takes_level:
            # it scales a quantiser's step: a higher level is worse, and cheaper
            def enough(code: int, good: Callable[..., dict[int, int]] = good) -> bool:
                return bool(good([code], measured=False))

            yield _highest(enough, top)
            continue
        found = good(range(0, top + 1, LEVEL_PARTS))
        if found:  # then between the highest of these levels and the next
            highest = max(found)
            found |= good(range(highest + 1, min(highest + LEVEL_PARTS, top + 1)))
        yield min(found, key=lambda code: (found[code], -code)) if found else UNREACHED


def _highest_searched(
    search: Searcher[Any], blocks: Iterable[np.ndarray], min_si_snr: float
) -> Iterator[int]:
    """For each chunk, the code of a level that is enough, as if the chunk after had it, too."""
    before, past = 0, search.nothing()
    for window in windows(blocks, Grid.of(search.network.settings)):
        before, past = _bisected(search, window, before, past, min_si_snr)
        yield before


def _highest(reaches: Callable[[int], bool], top: int) -> int:
    """The highest code that reaches what is asked for, if all below it do; `UNREACHED` if not even 0 does."""
    low, high = (top, top) if reaches(top) else (-1, top)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return low if low >= 0 else UNREACHED


def _bisected(
    search: Searcher[Any], window: Window, before: int, past: Any, min_si_snr: float
) -> tuple[int, Any]:
    """A code whose searched events reach the quality while those of the next do not; and the events."""
    own, tried = _own(window, search.network), dict[int, Any]()

    def reaches(code: int) -> bool:
        tried[code], sound = search(window, np.array([before, code, code], np.uint8), past)
        return not window.audio[own].any() or _quality(sound[own], window, own) >= min_si_snr

    code = _highest(reaches, _top(search.network))
    return code, tried[0 if code == UNREACHED else code]


def _own(window: Window, network: Network) -> slice:
    """The chunk's own samples in its window, without padding."""
    start = window.before * network.settings.hop
    return slice(start, start + len(window.gain))


def _quality(decoded: np.ndarray, window: Window, own: slice) -> float:
    """SI-SNR of the decoded chunk, at the window's level, as it will be written; minus infinity if nothing is left."""
    quality = si_snr(as_written(decoded * window.gain), window.audio[own] * window.gain)
    return -math.inf if math.isnan(quality) else quality


def _good(codec, spikes_at, window, min_si_snr, codes, *, measured=True) -> dict[int, int]:
    """Those of the codes whose events decode well enough, and the bytes of the chunk's events with each.

    Without `measured`, the bytes are 0.
    """
    found, own = {}, _own(window, codec)
    for start in range(0, len(codes), 8):
        batch = codes[start : start + 8]
        level = codec.level_tensor(np.array(batch, np.uint8)[:, None])
        with codec.computing():
            spikes = spikes_at(level)
            decoded = codec.synthesise(codec.dequantise(spikes, level), level).float().cpu().numpy()
        chunk = spikes[:, :, window.before : window.before + window.steps]
        for code, events, sound in zip(batch, chunk, decoded, strict=True):
            if _quality(sound[own], window, own) < min_si_snr:
                continue
            side, matrix = Side(window.loudness, code), (events > 0.5).cpu().numpy()
            found[code] = len(spk.pack_chunk(matrix, codec.entropy_model, side)[1]) if measured else 0
    return found


def _chunk_si_snr(codec: Codec, events: EventMatrix, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """SI-SNR of each decoded chunk, as written, in dB; NaN where the recording is silent, minus infinity where only
    it is not."""
    source = reblocked(blocks, events.chunk_steps * events.hop)
    values = []
    for decoded, target in zip(codec.decode_blocks(events), source, strict=True):
        quality = si_snr(as_written(decoded), target)
        values.append(-np.inf if np.isnan(quality) and target.any() else quality)
    return np.array(values)
