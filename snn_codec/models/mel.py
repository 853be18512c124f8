"""MEL, the paper's baseline without a learned code: a mel spectrogram straight to the decoder.

32 channels of 32-bit numbers are 44.1 kbit/s. They travel as bits, 32 units a channel, in an event matrix of
1024 units, so that every file and tool works for them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_codec.errors import UserError
from snn_codec.metrics import mel_filters
from snn_codec.models.spectral import frames
from snn_codec.settings import Mel, MelBits

FLOOR = 1e-4  # of a mel band's magnitude; normalised audio has an RMS of 1 where it is loudest
BITS = 32


class MelEncoder(nn.Module):
    """Audio `[batch, samples]` -> log mel spectrogram `[batch, step, channel]`; nothing is learned.

    Args:
        hop: Samples a step.
        settings: Channels and range of frequencies.
    """

    def __init__(self, hop: int, settings: Mel):
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        bank = area_one_filters(settings.channels, settings.window, settings.sample_rate, settings.highest_hz)
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.fft.rfft(frames(audio.float(), self.window, self.hop), norm="ortho")
            power = spectrum.real.square() + spectrum.imag.square()
            return (power @ self.bank.T).add(FLOOR**2).log()


class MelBottleneck(nn.Module):
    """The bits of the spectrogram's numbers (IEEE 754, most significant first), and a linear map to features.

    Args:
        width: Size of the decoder's features.
        units: N, 32 for each channel.
        settings: Nothing but the kind.

    Raises:
        UserError: Units that are no whole channels.
    """

    def __init__(self, width: int, units: int, settings: MelBits):
        super().__init__()
        if units % BITS:
            raise UserError(f"a mel spectrogram has {BITS} units a channel, so {units} units are none")
        self.project = nn.Linear(units // BITS, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log mel `[batch, step, channel]` -> (features, bits `[batch, unit, step]`, a residual of 0)."""
        return self.project(features), self.encode(features), features.new_zeros(())

    def encode(self, features: Tensor) -> Tensor:
        """Log mel `[batch, step, channel]` -> bits `[batch, unit, step]`, 0 or 1."""
        values = features.detach().float().contiguous().view(torch.int32)
        shifts = torch.arange(BITS - 1, -1, -1, device=values.device, dtype=torch.int32)
        return (values[..., None] >> shifts & 1).flatten(2).transpose(1, 2).float()

    def decode(self, spikes: Tensor) -> Tensor:
        """Bits `[batch, unit, step]` -> features `[batch, step, width]`; bits of no finite number count as 0."""
        bits = spikes.transpose(1, 2).unflatten(-1, (-1, BITS)).to(torch.int64)
        shifts = torch.arange(BITS - 1, -1, -1, device=spikes.device)
        values = (bits << shifts).sum(-1)
        values = torch.where(values >= 2**31, values - 2**32, values).to(torch.int32).view(torch.float32)
        return self.project(torch.where(values.isfinite(), values, torch.zeros_like(values)))


def area_one_filters(channels: int, window: int, sample_rate: int, highest_hz: float) -> Tensor:
    """The bank of `metrics.mel_filters` from 0 Hz, each filter's area one: `[channel, window / 2 + 1]`."""
    triangles = torch.from_numpy(mel_filters(sample_rate, window, channels, 0.0, highest_hz)).T
    return triangles / triangles.sum(1, keepdim=True)
