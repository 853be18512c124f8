"""A decoder that fills in the spectrum: what a codec of waveforms leaves out, inferred from what it has.

The plain decoder of a codec of kind `mdct` has the waveform of what is coded, and nothing else. This one goes over its
sound in short blocks (a lapped transform of 256 samples, 12 ms, so that attacks stay sharp): a small network sees the
energies of bands and the level, and gives each band of each block three gains,

    y = g p + g_n n / |n|_b + g_h h / |h|_b

for the plain sound p, for noise n, and for harmonics h, the plain sound after half-wave rectification; |.|_b is the RMS
over a band. Noise has nothing in the bins of the codec's transform that have events, so that it stays between the
partials that are coded. It depends on the seed and the step alone, so that the same events give the same sound however
they are cut. The network sees half a step of a codec with blocks of 2048 samples, and one forward pass is all.

Departs: the paper's decoders invent the whole waveform.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import settings as config
from snn_codec.models.lapped import inverse_mdct, mdct

FLOOR = 1e-5  # RMS of a band below which nothing is told apart, relative to the loudest step's
QUIET = -9.0  # binary logarithm of the gains that noise and harmonics start with


class FillingDecoder(nn.Module):
    """The plain decoder's sound, with its spectrum filled in.

    Args:
        hop: Samples a step of the codec.
        sample_rate: Of the sound, in Hz.
        settings: Sizes (`settings.Filling`).

    Attributes:
        noise_size: Numbers that a step's noise has.
    """

    def __init__(self, hop: int, sample_rate: int, settings: config.Filling):
        super().__init__()
        self.hop, self.block, self.noise_size = hop, settings.block, hop
        share = _shares(settings.bands, settings.block, sample_rate)
        self.register_buffer("share", torch.from_numpy(share).float(), persistent=False)  # [band, bin]
        self.register_buffer("mean", self.share / self.share.sum(1, keepdim=True), persistent=False)
        width = settings.width
        self.inputs = nn.Conv1d(2 * settings.bands + 1, width, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(settings.blocks))
        self.output = nn.Conv1d(width, 3 * settings.bands, 1)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.view(3, -1).copy_(torch.tensor([[0.0], [QUIET], [QUIET]]))

    def forward(self, plain: Tensor, read: Tensor, octaves: Tensor, noise: Tensor) -> Tensor:
        """Fill in a sound.

        Args:
            plain: `[batch, step * hop]`, of the loudness that codecs see.
            read: What the codec's bottleneck read out, `[batch, step, bin]`; 0 where there are no events.
            octaves: Binary logarithm of the quantiser's step, `[batch, 1 or step]`.
            noise: Normal numbers `[batch, step, hop]`.
        """
        with torch.autocast(plain.device.type, enabled=False):
            coded = functional.pad(read != 0, (0, self.hop - read.shape[-1]))
            noise = inverse_mdct(noise.float() * ~coded)
            return self._filled(plain.float(), octaves.float(), noise)

    def _filled(self, plain: Tensor, octaves: Tensor, noise: Tensor) -> Tensor:
        own = mdct(plain, self.block)
        harmonics = mdct(functional.relu(plain), self.block)
        noise = mdct(noise, self.block)
        loud = [torch.log2(self._rms(part)) for part in (own, harmonics)]
        steps = octaves.expand(-1, plain.shape[-1] // self.hop).repeat_interleave(self.hop // self.block, 1)
        x = self.inputs(torch.cat([*loud, steps[..., None]], -1).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        gains = self.output(functional.gelu(x)).transpose(1, 2).unflatten(-1, (3, -1)).clamp(-16, 4)
        gains = torch.exp2(gains @ self.share)  # [batch, block, 3, bin]
        filled = gains[..., 0, :] * own
        filled = filled + gains[..., 1, :] * noise / (self._rms(noise) @ self.share)
        filled = filled + gains[..., 2, :] * harmonics / (self._rms(harmonics) @ self.share)
        return inverse_mdct(filled)

    def _rms(self, coefficients: Tensor) -> Tensor:
        """RMS of each band, `[batch, block, band]`."""
        return (coefficients.square() @ self.mean.T + FLOOR**2).sqrt()


class _Block(nn.Module):
    """A depthwise convolution over blocks and a perceptron, added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.widen = nn.Conv1d(width, 2 * width, 1)
        self.narrow = nn.Conv1d(2 * width, width, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(functional.gelu(self.widen(self.depthwise(x))))


def _shares(bands: int, bins: int, sample_rate: int) -> np.ndarray:
    """How much of each bin belongs to each band, `[band, bin]`: triangles evenly spaced in mel, which sum to 1."""
    mel = 2595 * np.log10(1 + (np.arange(bins) + 0.5) * sample_rate / 2 / bins / 700)
    places = np.interp(mel, [mel[0], mel[-1]], [0, bands - 1])
    return np.maximum(0, 1 - np.abs(places - np.arange(bands)[:, None]))
