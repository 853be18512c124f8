"""Encoder and decoder of kind `mdct`: a lapped transform on either side of a thermometer.

The encoder's features are the lowest K coefficients of each step, divided by the quantiser's step of the level:

    x = c / (finest 2^(level / per_octave))

The decoder refines what the thermometer reads out, x', before the inverse transform. A small network sees each bin and
its neighbours, two steps back and two ahead: log magnitudes, and signed ones turned by the phase that a sinusoid at the
bin's centre has then (`snn_codec.models.lapped`). It adds up to about half a step to each coefficient. So it fills what
the thresholds cut off where a partial goes on, and it is the same function at every bin but for a bias.

Departs: the paper learns its transform, by a convolutional encoder, and its decoder invents what the bits leave open;
this decoder is trained for SI-SNR alone, and sounds like a low-pass unless a decoder that fills in the spectrum follows
(`snn_codec.models.filling`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import settings as config
from snn_codec.models.lapped import inverse_mdct, mdct, phase, shifted, turned

STEPS = (-2, -1, 0, 1, 2)  # that the refinement sees, from two to come to two ago


class MdctEncoder(nn.Module):
    """Audio to the lowest coefficients of a lapped transform.

    Args:
        hop: Samples a step, the length of a block.
        settings: Number of bins and the steps of levels (`settings.Mdct`).
    """

    is_linear = True

    def __init__(self, hop: int, settings: config.Mdct):
        super().__init__()
        self.hop, self.settings = hop, settings

    def forward(self, audio: Tensor, level: Tensor | None = None) -> Tensor:
        """Audio `[batch, samples]` and levels `[batch, 1 or step]` -> features `[batch, step, bin]`."""
        with torch.autocast(audio.device.type, enabled=False):
            whole = functional.pad(audio.float(), (0, -audio.shape[-1] % self.hop))
            coefficients = mdct(whole, self.hop)[..., : self.settings.width]
            return coefficients * torch.exp2(-octaves_of(self.settings, level, coefficients))


def octaves_of(settings: config.Mdct, level: Tensor | None, like: Tensor) -> Tensor:
    """Binary logarithm of the quantiser's step at levels `[batch, 1 or step]`, `[batch, 1 or step, 1]`."""
    if level is None:
        level = like.new_zeros(len(like), 1)
    return (math.log2(settings.finest) + level.to(like) / settings.per_octave)[..., None]


class MdctDecoder(nn.Module):
    """Read-out to audio: refined, scaled, transformed back.

    Args:
        hop: Samples a step.
        settings: Sizes of the refinement (`settings.Mdct`).
    """

    def __init__(self, hop: int, settings: config.Mdct):
        super().__init__()
        self.hop, self.settings, self.refined = hop, settings, settings.refined
        self.inputs = nn.Conv2d(4 * len(STEPS), settings.channels, (1, 9), padding=(0, 4))
        self.bias = nn.Parameter(torch.zeros(settings.channels, 1, self.refined))
        self.level = nn.Linear(2, settings.channels)
        self.blocks = nn.ModuleList(_Block(settings.channels) for _ in range(settings.blocks))
        self.output = nn.Conv2d(settings.channels, 2, (1, 3), padding=(0, 1))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        angle = phase(self.refined)
        self.register_buffer(
            "turn", torch.stack([torch.cos(angle), torch.sin(angle)]).float()[:, None], False
        )

    def forward(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Read-out `[batch, step, bin]` and levels `[batch, 1 or step]` -> audio `[batch, step * hop]`."""
        with torch.autocast(features.device.type, enabled=False):
            coefficients = self.coefficients(features.float(), level)
            return inverse_mdct(functional.pad(coefficients, (0, self.hop - self.settings.width)))

    def coefficients(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Refined coefficients `[batch, step, bin]`."""
        octaves = octaves_of(self.settings, level, features).expand(*features.shape[:2], 1)
        added = functional.pad(self.correction(features, octaves), (0, self.settings.width - self.refined))
        return (features + added) * torch.exp2(octaves)

    def correction(self, read: Tensor, octaves: Tensor) -> Tensor:
        """What the refinement adds to the lowest bins, in steps of the quantiser, `[batch, step, refined]`."""
        read = read[..., : self.refined]
        log = torch.log2(1 + read.abs())
        signed, some = log * read.sign(), (log > 0).to(log)
        channels = []
        for steps in reversed(STEPS):
            channels += [shifted(some, steps), shifted(log, steps), *turned(signed, steps)]
        x = torch.stack(channels, 1).contiguous(memory_format=torch.channels_last)
        level = self.level(torch.cat([octaves, octaves.square() / 4], -1))  # [batch, step, channel]
        x = self.inputs(x) + self.bias + level.transpose(1, 2)[..., None]
        for block in self.blocks:
            x = block(x)
        return (self.output(functional.relu(x)) * self.turn).sum(1)


class _Block(nn.Module):
    """A depthwise convolution over steps and bins, and a perceptron, added to what came in."""

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, (3, 7), padding=(1, 3), groups=channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(functional.relu(self.widen(self.depthwise(x))))
