"""A decoder that fills in the spectrum: what a codec of waveforms leaves out, at the levels of the floor.

The plain decoder of a codec of kind `mdct` has the waveform of what is coded, and nothing else. This one adds noise
where there are no events: in the bins of the codec's own transform that have none, with the RMS f that the floor has
there (`snn_codec.floor`), so that it lies between the partials that are coded. Then it goes over the sound in short
blocks (a lapped transform of 256 samples, 12 ms, so that attacks stay sharp): a small network sees the energies of
bands, the floor and the level, and gives each band of each block three gains,

    y = g p + g_n n + g_h f h / |h|_b

for the plain sound p, for noise n, and for harmonics h, the plain sound after half-wave rectification; |.|_b is the RMS
over a band. The floor is a mean over a chunk, and what follows the notes the network infers from the events. Events
that carry no floor get one that is trained. Noise depends on the seed and the step alone, so that the same events give
the same sound however they are cut. One forward pass is all.

Departs: the paper's decoders invent the whole waveform.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import settings as config
from snn_codec.floor import octaves as floor_octaves
from snn_codec.floor import shares
from snn_codec.models.lapped import inverse_mdct, mdct

FLOOR = 1e-5  # RMS of a band that counts as silence, relative to the loudest step's
HARMONICS = (
    -6.0
)  # binary logarithm of the gain that they start with, relative to the floor; noise starts at the floor
USUAL = -12.0  # binary logarithm of the floor that is taken for events without one, before it is trained


class FillingDecoder(nn.Module):
    """The plain decoder's sound, with its spectrum filled in.

    Args:
        hop: Samples a step of the codec.
        sample_rate: Of the sound, in Hz.
        settings: Sizes (`settings.Filling`).

    Attributes:
        noise_size: Numbers that a step's noise has.
        reach: Steps before and after a sample that its sound depends on, besides those that the plain sound does.
    """

    def __init__(self, hop: int, sample_rate: int, settings: config.Filling):
        super().__init__()
        self.hop, self.block, self.noise_size = hop, settings.block, hop
        for name, bands, bins in (
            ("share", settings.bands, settings.block),
            ("floor_share", settings.floor_bands, settings.block),
            ("noise_share", settings.floor_bands, hop),
        ):
            share = torch.from_numpy(shares(bands, bins, sample_rate).copy()).float()  # [band, bin]
            self.register_buffer(name, share, persistent=False)
        self.register_buffer("mean", self.share / self.share.sum(1, keepdim=True), persistent=False)
        self.usual = nn.Parameter(torch.full((settings.floor_bands,), USUAL))
        width, spreads = settings.width, [settings.spread**number for number in range(settings.blocks)]
        # 2 of the first layer, and a block more on either way to and from the bands
        self.reach = math.ceil((2 + sum(spreads) + 2) * settings.block / hop)
        self.inputs = nn.Conv1d(3 * settings.bands + settings.floor_bands + 1, width, 5, padding=2)
        self.blocks = nn.ModuleList(_Block(width, spread) for spread in spreads)
        self.output = nn.Conv1d(width, 3 * settings.bands, 1)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.view(3, -1).copy_(torch.tensor([[0.0], [0.0], [HARMONICS]]))

    def forward(
        self, plain: Tensor, read: Tensor, octaves: Tensor, noise: Tensor, floors: Tensor | None = None
    ) -> Tensor:
        """Fill in a sound.

        Args:
            plain: `[batch, step * hop]`, of the loudness that codecs see.
            read: What the codec's bottleneck read out, `[batch, step, bin]`; 0 where there are no events.
            octaves: Binary logarithm of the quantiser's step, `[batch, 1 or step]`.
            noise: Normal numbers `[batch, step, hop]`.
            floors: Codes of the floor, `[batch, step, band]`; NaN or None where there are none.
        """
        with torch.autocast(plain.device.type, enabled=False):
            levels = self.usual.expand(*read.shape[:2], -1)
            if floors is not None:
                levels = torch.where(floors.isnan(), levels, floor_octaves(floors))
            coded = functional.pad(read != 0, (0, self.hop - read.shape[-1]))
            noise = inverse_mdct(noise.float() * torch.exp2(levels @ self.noise_share) * ~coded)
            return self._filled(plain.float(), octaves.float(), noise, levels)

    def _filled(self, plain: Tensor, octaves: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        own, noise = mdct(plain, self.block), mdct(noise, self.block)
        harmonics = mdct(functional.relu(plain), self.block)
        blocks = self.hop // self.block
        steps = octaves.expand(-1, plain.shape[-1] // self.hop)[..., None]
        said = torch.cat([steps, levels], -1).repeat_interleave(blocks, 1)
        loud = [torch.log2(self._rms(part)) for part in (own, harmonics, noise)]
        x = self.inputs(torch.cat([*loud, said], -1).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        gains = self.output(functional.gelu(x)).transpose(1, 2).unflatten(-1, (3, -1)).clamp(-16, 4)
        gains = torch.exp2(gains @ self.share)  # [batch, block, 3, bin]
        floor = torch.exp2(said[..., 1:] @ self.floor_share)
        filled = gains[..., 0, :] * own + gains[..., 1, :] * noise
        filled = filled + gains[..., 2, :] * floor * harmonics / (self._rms(harmonics) @ self.share)
        return inverse_mdct(filled)

    def _rms(self, coefficients: Tensor) -> Tensor:
        """RMS of each band, `[batch, block, band]`."""
        return (coefficients.square() @ self.mean.T + FLOOR**2).sqrt()


class _Block(nn.Module):
    """A depthwise convolution over three blocks, `spread` apart, and a perceptron, added to what came in."""

    def __init__(self, width: int, spread: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, padding=spread, dilation=spread, groups=width)
        self.widen = nn.Conv1d(width, 2 * width, 1)
        self.narrow = nn.Conv1d(2 * width, width, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(functional.gelu(self.widen(self.depthwise(x))))
