"""SEANet, the paper's convolutional encoder and decoder on the waveform ("Models"; EnCodec, section 3.1).

For each ratio r the encoder has residual blocks, then a convolution of kernel 2 r and stride r that doubles
the channels. The decoder mirrors it with transposed convolutions. At the bottom of both, an LSTM over steps
is added to its input. `ratios` are written in the decoder's order, as in EnCodec: (8, 8, 4, 2) makes the
encoder stride by 2, 4, 8, 8. Layers and sizes are EnCodec's, so that with its ratios (8, 5, 4, 2) both have
as many parameters as the published 24 kHz model: 7 425 792 and 7 426 018.

Every convolution is padded alike on both sides, so step t is centred on the samples [t hop, (t + 1) hop).
With the paper's sizes the convolutions reach 1907 samples (3.7 steps) beyond them, in the encoder as in the
decoder; the LSTM has no limit backward and looks nowhere forward.

Departs: the paper does not say whether its convolutions are causal (EnCodec's 24 kHz model is, its 48 kHz
model is not); these are not. EnCodec pads with the reflected signal, this with zeros, so that one sample
suffices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from snn_codec.errors import UserError
from snn_codec.settings import SEANet

KERNEL = 7  # of the first and the last convolution


class SEANetEncoder(nn.Module):
    """Audio `[batch, samples]` -> features `[batch, step, width]`, with ceil(samples / hop) steps.

    Args:
        hop: Samples a step.
        settings: Sizes; the product of the ratios must be `hop`. Without `lstm_layers` there is no LSTM.

    Raises:
        UserError: Sizes that no network can have.
    """

    def __init__(self, hop: int, settings: SEANet):
        super().__init__()
        _check(hop, settings)
        self.hop, self.width = hop, settings.width
        channels = settings.filters
        layers: list[nn.Module] = [_conv(1, channels, KERNEL)]
        for ratio in reversed(settings.ratios):
            layers += _residual_blocks(channels, settings.residual_blocks)
            layers += [nn.ELU(), _downsampling(channels, ratio)]
            channels *= 2
        layers += [_Recurrent(channels, settings.lstm_layers)] if settings.lstm_layers else []
        layers += [nn.ELU(), _conv(channels, settings.width, KERNEL)]
        self.layers = nn.Sequential(*layers)

    def forward(self, audio: Tensor) -> Tensor:
        audio = nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop))
        return self.layers(audio.unsqueeze(1)).transpose(1, 2)


class SEANetDecoder(nn.Module):
    """Features `[batch, step, width]` -> audio `[batch, step * hop]`; arguments as the encoder's."""

    def __init__(self, hop: int, settings: SEANet):
        super().__init__()
        _check(hop, settings)
        channels = settings.filters * 2 ** len(settings.ratios)
        layers: list[nn.Module] = [_conv(settings.width, channels, KERNEL)]
        layers += [_Recurrent(channels, settings.lstm_layers)] if settings.lstm_layers else []
        for ratio in settings.ratios:
            layers += [nn.ELU(), _upsampling(channels, ratio)]
            channels //= 2
            layers += _residual_blocks(channels, settings.residual_blocks)
        self.layers = nn.Sequential(*layers, nn.ELU())
        self.output = _conv(channels, 1, KERNEL)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.layers(features.transpose(1, 2))
        with torch.autocast(hidden.device.type, enabled=False):  # half precision is too coarse for a waveform
            return self.output(hidden.to(self.output.bias.dtype)).squeeze(1)


class _ResidualBlock(nn.Module):
    """`[batch, channel, time]` -> the same shape: two convolutions by half the channels, and a shortcut."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.ELU(),
            _conv(channels, channels // 2, 3, dilation),
            nn.ELU(),
            _conv(channels // 2, channels, 1),
        )
        self.shortcut = _conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.branch(x)


class _Recurrent(nn.Module):
    """`[batch, channel, step]` -> the same shape: an LSTM from a state of zeros, added to its input."""

    def __init__(self, channels: int, layers: int):
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


def _check(hop: int, settings: SEANet) -> None:
    if math.prod(settings.ratios) != hop:
        product = " x ".join(map(str, settings.ratios))
        raise UserError(f"ratios {product} must multiply to the hop, {hop}")


def _residual_blocks(channels: int, count: int) -> list[nn.Module]:
    return [_ResidualBlock(channels, 2**i) for i in range(count)]


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Module:
    """A convolution that keeps the length; `kernel` is odd."""
    padding = dilation * (kernel // 2)
    return weight_norm(nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation))


def _downsampling(channels: int, ratio: int) -> nn.Module:
    """Length r T -> T, channels doubled; output t sees r / 2 samples on both sides of [t r, (t + 1) r)."""
    return weight_norm(nn.Conv1d(channels, 2 * channels, 2 * ratio, stride=ratio, padding=-(-ratio // 2)))


def _upsampling(channels: int, ratio: int) -> nn.Module:
    """Length T -> r T, channels halved: the transpose of `_downsampling`."""
    return weight_norm(
        nn.ConvTranspose1d(
            channels, channels // 2, 2 * ratio, stride=ratio, padding=-(-ratio // 2), output_padding=ratio % 2
        )
    )
