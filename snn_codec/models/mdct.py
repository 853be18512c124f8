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
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import settings as config
from snn_codec.models.lapped import inverse_mdct, mdct, phase, shifted, turned, turned_in_place

ROWS = 2048  # bins that are worked out together, so that what is between layers stays in a core's cache
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
            return self._sound(self.coefficients(features.float(), level))

    def read_out(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """What the events alone stand for, as audio `[batch, step * hop]`: without refinement."""
        return self._sound(features.float() * torch.exp2(octaves_of(self.settings, level, features)))

    def _sound(self, coefficients: Tensor) -> Tensor:
        return inverse_mdct(functional.pad(coefficients, (0, self.hop - self.settings.width)))

    def coefficients(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """Refined coefficients `[batch, step, bin]`."""
        return (features + self.added(features, level)) * torch.exp2(
            octaves_of(self.settings, level, features)
        )

    def added(self, features: Tensor, level: Tensor | None = None) -> Tensor:
        """What the refinement adds, in steps of the quantiser, `[batch, step, bin]`."""
        octaves = octaves_of(self.settings, level, features).expand(*features.shape[:2], 1)
        return functional.pad(self.correction(features, octaves), (0, self.settings.width - self.refined))

    def correction(self, read: Tensor, octaves: Tensor) -> Tensor:
        """What the refinement adds to the lowest bins, in steps of the quantiser, `[batch, step, refined]`."""
        read = read[..., : self.refined]
        level = self.level(torch.cat([octaves, octaves.square() / 4], -1))  # [batch, step, channel]
        offset = self.bias[:, 0].T + level[:, :, None]  # [batch, step, bin, channel]
        x = self._first(read) + offset if torch.is_grad_enabled() else self._first_few(read, offset)
        for block in self.blocks:
            x = block(x)
        taps = _by_rows(self._last_taps, x.flatten(0, 2)).view(*x.shape[:3], 3, 2)
        taps = functional.pad(taps, (0, 0, 0, 0, 1, 1))
        pair = sum(taps[:, :, tap : tap + self.refined, tap] for tap in range(3)) + self.output.bias
        return (pair * self.turn[:, 0].T).sum(-1)

    def _first(self, read: Tensor) -> Tensor:
        """The first convolution, `[batch, step, bin, channel]`."""
        log = torch.log2(1 + read.abs())
        signed, some = log * read.sign(), (log > 0).to(log)
        channels = []
        for steps in reversed(STEPS):
            channels += [shifted(some, steps), shifted(log, steps), *turned(signed, steps)]
        x = torch.stack(channels, 1).contiguous(memory_format=torch.channels_last)
        return self.inputs(x).permute(0, 2, 3, 1)

    def _first_few(self, read: Tensor, offset: Tensor) -> Tensor:
        """As `_first` and `offset` together, worked out only up to the highest bin of a step that sees events.

        Two steps more turn every bin by an odd multiple of pi: all steps need the phases of two, and a sign.
        """
        x = (offset + self.inputs.bias).contiguous()
        width = self.inputs.kernel_size[1]
        log = torch.log2(1 + read.abs())
        plain, signed = [(read != 0).to(read), log], log * read.sign()
        seen = [
            _windows(torch.stack([*plain, *turned_in_place(signed, steps)], -1), width) for steps in (0, 1)
        ]
        weights = self.inputs.weight.view(-1, len(STEPS), 4, width).permute(1, 3, 2, 0).flatten(1, 2)
        signs = torch.tensor([1.0, 1.0, -1.0, -1.0], device=x.device).repeat(width)[:, None]
        used = {
            steps: (seen[steps % 2], weight * signs if steps // 2 % 2 else weight)
            for steps, weight in zip(reversed(STEPS), weights, strict=True)
        }
        places = torch.arange(1, self.refined + 1, device=x.device)
        tops = ((read != 0) * places).amax(-1) + width // 2
        for batch, row in enumerate(tops.tolist()):
            for step in range(len(row)):
                for steps, (windows, weight) in used.items():
                    at = step - steps
                    if 0 <= at < len(row) and row[at] > width // 2:
                        x[batch, step, : row[at]].addmm_(windows[batch, at, : row[at]], weight)
        return x

    def _last_taps(self, rows: Tensor) -> Tensor:
        """The last convolution before its taps are added up: `[row, channel]` -> `[row, tap * 2]`."""
        weight = self.output.weight[:, :, 0].permute(2, 0, 1).flatten(0, 1)
        return functional.linear(functional.relu(rows), weight)


class _Block(nn.Module):
    """A depthwise convolution over steps and bins, and a perceptron, added to what came in.

    Without gradients, what came in is overwritten.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, (3, 7), padding=(1, 3), groups=channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, step, bin, channel]` -> the same."""
        seen = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if torch.is_grad_enabled():
            return x + self._perceptron(seen)
        for part, rows in zip(
            x.flatten(0, 2).split(ROWS), seen.reshape(-1, seen.shape[-1]).split(ROWS), strict=True
        ):
            part += self._perceptron(rows)
        return x

    def _perceptron(self, rows: Tensor) -> Tensor:
        hidden = functional.linear(rows, self.widen.weight[:, :, 0, 0], self.widen.bias).relu_()
        return functional.linear(hidden, self.narrow.weight[:, :, 0, 0], self.narrow.bias)


def _windows(values: Tensor, width: int) -> Tensor:
    """What each bin of `[batch, step, bin, channel]` sees `width` of: `[batch, step, bin, width * channel]`."""
    padded = functional.pad(values, (0, 0, width // 2, width // 2))
    return padded.unfold(2, width, 1).transpose(-1, -2).flatten(-2)


def _by_rows(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """A function of each row of `[row, channel]`, of few rows at a time if no gradients are needed."""
    if torch.is_grad_enabled():
        return function(rows)
    return torch.cat([function(part) for part in rows.split(ROWS)])
