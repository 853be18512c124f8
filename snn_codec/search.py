"""Analysis by synthesis: better events than the encoder's, searched for chunk by chunk with the decoder at hand.

An encoder has to guess, in one pass, how the errors of neighbouring events will add up in the decoded sound. The search
starts from its features x and moves them by gradient ascent (Adam, with a step that falls linearly to nothing), through
the decoder and the surrogate gradients of the neurons H:

    maximise  SI-SNR(decode(H(x)), audio)  -  price R(H(x)) / R(H(x_0))

R is what the events cost: bits by the checkpoint's entropy model, linearised at the encoder's events H(x_0) (by how
often each unit fires, if there is no entropy model). The best events on the way are kept, so that they are never worse
than the encoder's by this measure. The codes of a residual vector quantiser are passed straight through; there, the
price has no gradient and only ranks candidates. In a model with levels, the price grows linearly from 0 at level 0,
which has the most events, to all of it at level 8.

Chunks are searched in order, on one thread: the events of the chunk before are fixed, those of the chunk after are
as the encoder has them. So the events do not depend on blocks, batches or threads.

A thermometer, whose entropy model says what each event costs, has a search of its own (`snn_codec.rate_distortion`).

Departs: the paper has no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from snn_codec.chunks import Window
from snn_codec.errors import UserError
from snn_codec.metrics import batch_si_snr
from snn_codec.models.network import Network
from snn_codec.parallel import one_thread
from snn_codec.settings.fields import imported
from snn_codec.storage.entropy_model import EntropyModel

PRICE = 3.0  # dB that e times the bytes have to bring; the levels of mu-sparse bring 3.4
PRICED_FROM = 8  # the first level at which it is all of that
LEARNING_RATE = 0.1
BETAS = (0.8, 0.999)
MAX_STEPS = 1000


Events = TypeVar("Events")


class Searcher(Protocol[Events]):
    """What every kind of search can do; its events are a tensor `[unit, step]`, or `Sparse`.

    Attributes:
        network: Whose events are searched.
    """

    network: Network

    def __call__(self, window: Window, codes: np.ndarray, past: Events) -> tuple[Events, np.ndarray]:
        """The events of one chunk.

        Args:
            window: The chunk and its margins (`snn_codec.chunks`).
            codes: Of the levels of the chunks before, of and after the window's, uint8 `[3]`; `[0]` without levels.
            past: Events of the chunk before; without steps if there is none.

        Returns:
            Its events, and the window as they decode, float32 `[samples]`.
        """

    def nothing(self) -> Events:
        """What is before the first chunk: events of no steps."""

    def searched(
        self, windows: Iterable[Window], codes_of: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Window, Events]]:
        """Each window and the events of its chunk; `codes_of(n)` are the codes of the first n levels."""


def searcher(network: Network, steps: int, entropy_model: EntropyModel | None = None) -> Searcher[Any]:
    """The search that goes with a network's bottleneck.

    Args:
        network: Any that has binary events of its own making.
        steps: As much work as it may take for each chunk: steps of the optimiser, or passes.
        entropy_model: What events cost by.

    Raises:
        UserError: Not so many steps, nothing to search in, or an entropy model is needed.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"a search has 1 to {MAX_STEPS} steps, not {steps}")
    return imported(network.settings.bottleneck.search)(network, steps, entropy_model)


class Search:
    """The search with one network (`searcher` makes one).

    Args:
        network: Any that has binary events of its own making: spiking, or RVQ.
        steps: Of the optimiser; each costs a decoding and its gradient.
        entropy_model: What events cost by; if there is none, or none that gives probabilities cell by cell, by how
            often each unit fires.
        price: What e times the bytes have to bring, in dB of SI-SNR.

    Raises:
        UserError: The bottleneck has nothing to search in.
    """

    def __init__(
        self,
        network: Network,
        steps: int,
        entropy_model: EntropyModel | None = None,
        price: float = PRICE,
    ):
        if not hasattr(network.bottleneck, "search_step"):
            raise UserError(
                f"a bottleneck of kind {network.settings.bottleneck.kind} has no events to search for; "
                "leave out the search"
            )
        self.network, self.steps, self.entropy_model, self.price = network, steps, entropy_model, price

    def __call__(self, window: Window, codes: np.ndarray, past: Tensor) -> tuple[Tensor, np.ndarray]:
        """As `Searcher` has it; events are 0 or 1, `[unit, step]`."""
        network = self.network
        audio = torch.from_numpy(window.audio[None]).to(network.device)
        total = len(window.audio) // network.settings.hop
        centre = slice(window.before, window.before + window.steps)
        level = network.level_tensor(codes[1:2, None])
        price = self.price * (1.0 if level is None else min(1.0, level.item() / PRICED_FROM))
        reach = (window.before, window.steps, total - window.before - window.steps)
        levels = network.level_tensor(np.repeat(codes, reach)[None] if codes.size else codes)
        with one_thread(), network.evaluating():
            with torch.no_grad():
                features = network.analyse(audio, level).float()
                first = network.quantise(features, level)
                first[0, :, : window.before] = past[:, past.shape[1] - window.before :]
                prices = self._prices(first[0, :, centre])
            decode = self._decoding(first, centre, levels)
            moved = features[:, centre].clone().requires_grad_(True)
            optimiser = torch.optim.Adam([moved], lr=LEARNING_RATE, betas=BETAS)
            best, found, sound = -np.inf, first[0, :, centre], audio[0]
            for step in range(self.steps + 1):
                # of all steps, because a neuron may remember
                quantised, spikes = network.search_step(_replaced(features, moved, centre), level)
                spikes = spikes[..., centre]
                decoded = decode(quantised[:, centre], spikes)[:, : audio.shape[-1]].float()
                score = batch_si_snr(decoded, audio).sum()
                score = score - price * ((spikes[0] - first[0, :, centre]) * prices).sum()
                if score.item() > best:
                    best, found, sound = score.item(), spikes[0].detach(), decoded[0].detach()
                if step < self.steps:
                    optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / self.steps)
                    (moved.grad,) = torch.autograd.grad(-score, moved)
                    optimiser.step()
        return found, sound.cpu().numpy()

    def _decoding(
        self, first: Tensor, centre: slice, levels: Tensor | None
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Audio of a window, given the chunk's reconstruction and spikes; around it, events are `first`."""
        network = self.network
        if network.takes_spikes:
            return lambda quantised, spikes: network.synthesise(
                torch.cat([first[..., : centre.start], spikes, first[..., centre.stop :]], -1), levels
            )
        with torch.no_grad():
            fixed = network.reconstruct(first, levels)
        return lambda quantised, spikes: network.synthesise(
            network.refine(_replaced(fixed, quantised, centre), levels), levels
        )

    def nothing(self) -> Tensor:
        """As `Searcher` has it."""
        return torch.zeros(self.network.settings.units, 0, device=self.network.device)

    def searched(
        self, windows: Iterable[Window], codes_of: Callable[[int], np.ndarray]
    ) -> Iterator[tuple[Window, Tensor]]:
        """As `Searcher` has it."""
        past = self.nothing()
        for number, window in enumerate(windows):
            known = codes_of(number + 2)
            codes = known[[max(0, number - 1), number, number + 1]] if known.size else known
            past, _ = self(window, codes, past)
            yield window, past

    def _prices(self, spikes: Tensor) -> Tensor:
        """What an event more costs in each cell `[unit, step]`, as a share of the cost of all."""
        events = (spikes > 0.5).cpu().numpy()
        probabilities = getattr(self.entropy_model, "probabilities", None)
        if probabilities is not None:
            p = probabilities(events)
        else:
            counts = events.sum(1, keepdims=True) + 0.5
            p = np.broadcast_to(counts / (events.shape[1] + 1), events.shape)
        bits = -np.log2(np.where(events, p, 1 - p)).sum()
        return torch.from_numpy((np.log2((1 - p) / p) / bits).astype(np.float32)).to(spikes.device)


def _replaced(whole: Tensor, part: Tensor, steps: slice) -> Tensor:
    """`[batch, step, width]` with other values in some steps."""
    return torch.cat([whole[:, : steps.start], part, whole[:, steps.stop :]], 1)
