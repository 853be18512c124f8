"""Encoder and decoder that work at the step rate (43 Hz) between an STFT and its inverse.

One step is one hop. Step t's frame is centred on the samples [t hop, (t + 1) hop), and its spectrum's
magnitude is compressed to |X|^c. Between the transform and the bottleneck stand ConvNeXt blocks over steps.

Departs: the paper codes the waveform with SEANet (`snn_codec.models.seanet`), which needs some hundred times
the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from snn_codec.settings import Spectral


class Block(nn.Module):
    """ConvNeXt block over steps: depthwise convolution, layer norm, two-layer perceptron, layer scale."""

    def __init__(self, width: int, kernel: int, expansion: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, (kernel, 1), padding=(kernel // 2, 0), groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, step, width]` -> the same shape."""
        # as an image of height T and width 1 in channels-last layout: the same memory, the fastest kernel
        y = self.depthwise(x.transpose(1, 2).unsqueeze(3)).squeeze(3).transpose(1, 2)
        y = self.narrow(nn.functional.silu(self.widen(self.norm(y))))
        return x + self.scale * y


class _Stack(nn.Sequential):
    def __init__(self, settings: Spectral):
        super().__init__(
            *(Block(settings.width, settings.kernel, settings.expansion) for _ in range(settings.blocks)),
            nn.LayerNorm(settings.width),
        )


class SpectralEncoder(nn.Module):
    """Audio `[batch, samples]` -> features `[batch, step, width]`, with ceil(samples / hop) steps."""

    def __init__(self, hop: int, settings: Spectral):
        super().__init__()
        self.hop, self.exponent = hop, settings.magnitude_exponent
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        self.project = nn.Linear(settings.window + 2, settings.width)
        self.stack = _Stack(settings)

    def forward(self, audio: Tensor) -> Tensor:
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.fft.rfft(frames(audio.float(), self.window, self.hop), norm="ortho")
            parts = torch.view_as_real(spectrum)
            power = parts.square().sum(-1, keepdim=True)
            parts = parts * (power + 1e-8).pow((self.exponent - 1) / 2)
        return self.stack(self.project(parts.flatten(-2)))


def frames(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Windowed frames `[batch, step, window]` of audio `[batch, samples]`, each centred on its step's samples."""
    steps = -(-audio.shape[-1] // hop)
    margin = (len(window) - hop) // 2
    audio = pad(audio, (margin, margin + steps * hop - audio.shape[-1]))
    return audio.unfold(-1, len(window), hop) * window


class SpectralDecoder(nn.Module):
    """Features `[batch, step, width]` -> audio `[batch, step * hop]`."""

    def __init__(self, hop: int, settings: Spectral):
        super().__init__()
        self.hop, self.exponent = hop, settings.magnitude_exponent
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        self.stack = _Stack(settings)
        self.project = nn.Linear(settings.width, settings.window + 2)

    def forward(self, features: Tensor) -> Tensor:
        parts = self.project(self.stack(features))
        with torch.autocast(features.device.type, enabled=False):
            parts = parts.float().unflatten(-1, (-1, 2))
            power = parts.square().sum(-1, keepdim=True)
            parts = parts * (power + 1e-8).pow((1 / self.exponent - 1) / 2)
            return joined(torch.view_as_complex(parts), self.window, self.hop)


def joined(spectra: Tensor, window: Tensor, hop: int) -> Tensor:
    """Audio `[batch, step * hop]` of spectra `[batch, step, window / 2 + 1]` of `frames`: their inverse."""
    pieces = torch.fft.irfft(spectra, norm="ortho") * window
    envelope = window.square().expand(1, pieces.shape[1], -1)
    return _overlap_add(pieces, hop) / _overlap_add(envelope, hop).clamp_min(1e-3)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Frames `[batch, step, window]` -> `[batch, step * hop]`, the margins of the first and last cut off."""
    count = frames.shape[-1] // hop
    pieces = frames.unflatten(-1, (count, hop))
    total = sum(pad(pieces[:, :, i], (0, 0, i, count - 1 - i)) for i in range(count)).flatten(1)
    margin = (frames.shape[-1] - hop) // 2
    return total[:, margin : margin + frames.shape[1] * hop]
