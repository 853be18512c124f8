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
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from snn_codec import settings as config
from snn_codec.models.lapped import inverse_mdct, mdct, phase, shifted, turned, turned_in_place

# bins that are worked out together: by all layers, in the cache of a few cores, and by a perceptron, in that of one
ROWS, FEW_ROWS = 8192, 2048
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
        offset = self.level(torch.cat([octaves, octaves.square() / 4], -1))[:, :, None]
        if not torch.is_grad_enabled():
            return self._correction_in_blocks(read, offset)
        x = self._first(read) + offset
        for block in self.blocks:
            x = block(x)
        return self._last(x)

    def _correction_in_blocks(self, read: Tensor, offset: Tensor) -> Tensor:
        """As `correction`, of few steps at a time, so that what is between layers stays in a core's cache."""
        x = self._first_in_blocks(read, offset)
        for block in self.blocks:
            x = block.of_blocks(x)
        return torch.cat([self._last(part) for part in x], 1)

    def _first(self, read: Tensor) -> Tensor:
        """The first convolution, with the bins' bias, `[batch, step, bin, channel]`."""
        log = torch.log2(1 + read.abs())
        signed, some = log * read.sign(), (log > 0).to(log)
        channels = []
        for steps in reversed(STEPS):
            channels += [shifted(some, steps), shifted(log, steps), *turned(signed, steps)]
        x = torch.stack(channels, 1).contiguous(memory_format=torch.channels_last)
        return self.inputs(x).permute(0, 2, 3, 1) + self.bias[:, 0].T

    def _first_in_blocks(self, read: Tensor, offset: Tensor) -> Iterator[Tensor]:
        """As `_first` and `offset` together: what bins see of a step is multiplied only where there are events."""
        width, channels = self.inputs.kernel_size[1], self.inputs.out_channels
        read, offset = read.transpose(0, 1).contiguous(), offset.transpose(0, 1)  # [step, batch, bin]
        some = functional.max_pool1d((read != 0).to(read), width, 1, width // 2)
        row = some.flatten().nonzero()[:, 0]
        place = row + row // self.refined * (width - 1)
        seen = [_windows(part, width).index_select(0, place) for part in _of_two_phases(read)]
        step_rows = read[0].numel()
        ends = torch.arange(len(read) + 1, device=row.device) * step_rows
        bounds = torch.searchsorted(row, ends).tolist()
        silent = (self.bias[:, 0].T + self.inputs.bias).contiguous()
        weights = list(zip(reversed(STEPS), self._step_weights(), strict=True))
        size = max(1, ROWS // step_rows)
        for start in range(0, len(read), size):
            x = (silent + offset[start : start + size]).contiguous()
            for ago, weight in weights:
                first, last = (min(max(at - ago, 0), len(read)) for at in (start, start + len(x)))
                part = slice(bounds[first], bounds[last])
                product = seen[ago % 2][part] @ weight
                to = (row[part] + (ago - start) * step_rows)[:, None].expand_as(product)
                x.view(-1, channels).scatter_add_(0, to, product)
            yield x.transpose(0, 1)

    def _step_weights(self) -> list[Tensor]:
        """The first convolution's, of each step from two ago on and of what `_of_two_phases` has: `[tap * 4, channel]`.

        Two steps more turn every bin by an odd multiple of pi: all steps need the phases of two, and a sign.
        """
        weight = self.inputs.weight.view(-1, len(STEPS), 4, self.inputs.kernel_size[1]).permute(1, 3, 2, 0)
        signs = weight.new_tensor([1, 1, -1, -1])[:, None]
        pairs = zip(reversed(STEPS), weight, strict=True)
        return [(part * signs if steps // 2 % 2 else part).flatten(0, 1) for steps, part in pairs]

    def _last(self, x: Tensor) -> Tensor:
        """The last convolution, turned back: `[batch, step, bin, channel]` -> `[batch, step, bin]`.

        As a product for each of its taps, which takes less time than a convolution to two channels.
        """
        weight = self.output.weight[:, :, 0].permute(2, 0, 1).flatten(0, 1)  # [tap * 2, channel]
        rows = functional.relu(x, inplace=not torch.is_grad_enabled()).flatten(0, 2)
        taps = functional.pad((weight @ rows.T).view(3, 2, *x.shape[:3]), (1, 1))
        pair = sum(taps[tap, ..., tap : tap + self.refined] for tap in range(3))
        return ((pair + self.output.bias[:, None, None, None]) * self.turn[:, :, None]).sum(0)


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
        """`[batch, step, bin, channel]` -> the same."""
        return self._of_inner(functional.pad(x, (0, 0, 0, 0, 1, 1)))

    def of_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As `forward`, of successive steps in blocks; a step comes when the one after it is there."""
        held = None
        for block in blocks:
            whole = functional.pad(block, (0, 0, 0, 0, 1, 0)) if held is None else torch.cat([held, block], 1)
            held = whole[:, -2:]
            if whole.shape[1] > 2:
                yield self._of_inner(whole)
        if held is not None:
            yield self._of_inner(functional.pad(held, (0, 0, 0, 0, 0, 1)))

    def _of_inner(self, x: Tensor) -> Tensor:
        """Of all steps but the first and the last."""
        depthwise = self.depthwise
        seen = functional.conv2d(
            x.permute(0, 3, 1, 2),
            depthwise.weight,
            depthwise.bias,
            padding=(0, 3),
            groups=len(depthwise.weight),
        )
        rows = seen.permute(0, 2, 3, 1).contiguous()
        if torch.is_grad_enabled():
            hidden = functional.linear(rows, self.widen.weight[:, :, 0, 0], self.widen.bias).relu()
            return x[:, 1:-1] + functional.linear(hidden, self.narrow.weight[:, :, 0, 0], self.narrow.bias)
        widen, narrow = (layer.weight[:, :, 0, 0].T for layer in (self.widen, self.narrow))
        buffer = rows.new_empty(FEW_ROWS, widen.shape[1])
        for part in rows.view(-1, rows.shape[-1]).split(FEW_ROWS):
            hidden = torch.addmm(self.widen.bias, part, widen, out=buffer[: len(part)]).relu_()
            torch.addmm(self.narrow.bias, hidden, narrow, out=part)
        return rows.add_(x[:, 1:-1])


def _of_two_phases(read: Tensor) -> list[Tensor]:
    """What even and odd steps see of a read-out `[batch, step, bin]`: `[batch, step, bin, 4]` each."""
    log = torch.log2(1 + read.abs())
    plain, signed = [(read != 0).to(read), log], log * read.sign()
    return [torch.stack([*plain, *turned_in_place(signed, steps)], -1) for steps in (0, 1)]


def _windows(values: Tensor, width: int) -> Tensor:
    """A view of what bins of `[..., ..., bin, channel]` see, row after row of bins and `width - 1` more:
    `[row, width * channel]`."""
    padded = functional.pad(values, (0, 0, width // 2, width // 2))
    return padded.flatten().unfold(0, width * values.shape[-1], values.shape[-1])
