"""Multi-scale complex-STFT discriminators: networks that tell recordings from decoded sound (EnCodec, section 3.4).

One network for each window size sees the spectrogram as an image of two channels, real and imaginary part. After a
first convolution, others halve the number of frequencies and look further and further along time; the last gives one
logit for each place.

Departs: EnCodec shows the discriminators linear spectra. A piano has hardly any energy above 2 kHz, where a decoder is
least sure, so these see magnitudes compressed to |X|^c; and the default is smaller by far, for training on a CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils.parametrizations import weight_norm

from snn_codec.settings import Discriminators as Settings

FLOOR = 1e-8  # of a bin's power, relative to a normalised signal's level


class Judgement(NamedTuple):
    """What one discriminator says: a logit for each place `[batch, 1, frame, band]`, and its layers' outputs."""

    logits: Tensor
    features: list[Tensor]


class Discriminators(nn.Module):
    """Audio `[batch, samples]` -> a `Judgement` for each window."""

    def __init__(self, settings: Settings):
        super().__init__()
        self.scales = nn.ModuleList(_Scale(window, settings) for window in settings.windows)

    def forward(self, audio: Tensor) -> list[Judgement]:
        return [scale(audio) for scale in self.scales]


class _Scale(nn.Module):
    def __init__(self, window: int, settings: Settings):
        super().__init__()
        self.hop, self.exponent = max(1, window // settings.overlap), settings.magnitude_exponent
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        channels = settings.channels
        self.layers = nn.ModuleList([_conv(2, channels, (3, 8), (1, settings.stride))])
        for dilation in (1, 2, 4):
            self.layers.append(_conv(channels, channels, (3, 8), (1, 2), dilation))
        self.layers.append(_conv(channels, channels, (3, 3)))
        self.judge = _conv(channels, 1, (3, 3))

    def forward(self, audio: Tensor) -> Judgement:
        x = spectrum(audio, self.window, self.hop, self.exponent)
        features = []
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
            features.append(x)
        return Judgement(self.judge(x), features)


def spectrum(audio: Tensor, window: Tensor, hop: int, exponent: float) -> Tensor:
    """Compressed complex spectrogram `[batch, 2, frame, bin]` of `[batch, samples]`, orthonormal transform."""
    with torch.autocast(audio.device.type, enabled=False):
        frames = audio.to(window.dtype).unfold(-1, len(window), hop) * window
        parts = torch.view_as_real(torch.fft.rfft(frames, norm="ortho"))
        power = parts.square().sum(-1, keepdim=True)
        parts = parts * (power + FLOOR).pow((exponent - 1) / 2)
        return parts.permute(0, 3, 1, 2)


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: int = 1
) -> nn.Module:
    """Over (frame, bin); padded so that only strides make the picture smaller. Dilation is along frames."""
    padding = (dilation * (kernel[0] // 2), kernel[1] // 2)
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding, (dilation, 1)))
