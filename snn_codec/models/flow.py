"""Flow-matching decoder in the frame domain: how loud each bin is, sampled at the step rate; its phase stays.

The paper's diffusion decoder makes the waveform anew, by 100 evaluations of a large network. This one starts from the
plain decoder's sound. What that lacks are mostly magnitudes, so those are what is sampled, in few evaluations of a
network of a codec's size:

    X = P exp(c (m + s y))      y sampled by flow matching, given features and log |P|

P is the spectrum of the plain sound's frames (a step apart; `models.spectral.frames`). m and s are mean and spread of
log |X| - log |P| of recordings, for each bin, so y is about 1 everywhere and quiet high frequencies count as much as
loud low ones. A `temperature` below 1 scales the noise that the sample starts from: 0 is about the mean of log |X|,
smooth; 1 has all the variance that the data have. c is 0 up to the `crossover`, where the codec has the waveform and
a gain would only add errors, and 1 from an octave above it.

Departs: all of it is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snn_codec.models import samplers
from snn_codec.models.spectral import Block, frames, joined
from snn_codec.settings import Flow

LARGEST = 4.0  # of a bin's gain, in nepers: 35 dB
TIMES = 64  # size of the embedding of time


class FlowDecoder(nn.Module):
    """Samples the magnitudes that a plain decoder's sound lacks.

    Args:
        hop: Samples a step.
        features: Their width.
        settings: Sizes of the network, and the crossover.
        sample_rate: Of the audio, in Hz.

    Attributes:
        noise_size: Numbers of noise that a step takes.
    """

    def __init__(self, hop: int, features: int, settings: Flow, sample_rate: int):
        super().__init__()
        self.settings, self.hop, self.noise_size = settings, hop, settings.window // 2 + 1
        self.register_buffer("window", torch.hann_window(settings.window), persistent=False)
        hertz = torch.arange(self.noise_size) * (sample_rate / settings.window)
        above = (hertz - settings.crossover) / settings.crossover if settings.crossover else hertz + 1
        self.register_buffer("share", above.clamp(0, 1), persistent=False)  # c
        self.register_buffer("mean", torch.zeros(self.noise_size))  # m
        self.register_buffer("spread", torch.ones(self.noise_size))  # s
        self.condition = nn.Linear(features + self.noise_size, settings.width)
        self.nothing = nn.Parameter(torch.zeros(settings.width))
        self.state = nn.Linear(self.noise_size, settings.width)
        self.time = nn.Sequential(nn.Linear(TIMES, settings.width), nn.SiLU())
        self.moments = nn.ModuleList(
            nn.Linear(settings.width, settings.width) for _ in range(settings.blocks)
        )
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.kernel, settings.expansion) for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.width)
        self.velocity = nn.Linear(settings.width, self.noise_size)
        nn.init.zeros_(self.velocity.weight)
        nn.init.zeros_(self.velocity.bias)

    @torch.no_grad()
    def calibrate(self, plain: Tensor, target: Tensor) -> None:
        """Set m and s from audio `[batch, samples]`, plain and original."""
        gain = self._gain(self._spectrum(plain), target)
        smooth = nn.AvgPool1d(9, 1, 4, count_include_pad=False)
        self.mean.copy_(smooth(gain.mean((0, 1))[None, None])[0, 0])
        variance = (gain - self.mean).square().mean((0, 1))
        self.spread.copy_(smooth(variance[None, None])[0, 0].sqrt().clamp_min(1e-3))

    def forward(
        self, features: Tensor, plain: Tensor, target: Tensor, noise: Tensor, time: Tensor, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean square error of v, and the sound that the network aims at, for training.

        Args:
            features: `[batch, step, width]`.
            plain, target: Audio `[batch, step * hop]`.
            noise: `[batch, step, noise_size]`.
            time: `[batch]`, 0 (noise) to 1.
            kept: bool `[batch]`; where it is False, the network is given no condition.
        """
        with torch.autocast(plain.device.type, enabled=False):
            start = self._spectrum(plain)
            y = (self._gain(start, target) - self.mean) / self.spread
            state, wanted = samplers.flowing(y, noise, time[:, None, None])
        found = self._velocity(state, time, self._conditions(features, start, kept))
        with torch.autocast(plain.device.type, enabled=False):
            found = found.float()
            aimed = self._sound(start, state + (1 - time[:, None, None]) * found)
        return (found - wanted).square().mean(), aimed

    def sample(
        self, features: Tensor, plain: Tensor, noise: Tensor, steps: int = 0, guidance: float = 1.0
    ) -> Tensor:
        """Audio `[batch, step * hop]` of features, the plain decoder's audio, and noise `[batch, step, noise_size]`."""
        start = self._spectrum(plain)
        kept = torch.ones(len(plain), dtype=torch.bool, device=plain.device)
        conditions = [self._conditions(features, start, keep) for keep in (kept, ~kept)]
        network, free = (
            lambda x, time, condition=condition: self._velocity(x, time, condition)
            for condition in conditions
        )
        noise = noise * self.settings.temperature
        y = samplers.euler(
            samplers.guided(network, free, guidance), noise, steps or self.settings.sampler_steps
        )
        return self._sound(start, y)

    def _spectrum(self, audio: Tensor) -> Tensor:
        return torch.fft.rfft(frames(audio, self.window, self.hop), norm="ortho")

    def _level(self, spectrum: Tensor) -> Tensor:
        """Log magnitude, floored."""
        power = spectrum.real.square() + spectrum.imag.square()
        return 0.5 * (power + self.settings.floor**2).log()

    def _gain(self, start: Tensor, target: Tensor) -> Tensor:
        return (self._level(self._spectrum(target)) - self._level(start)).clamp(-LARGEST, LARGEST)

    def _sound(self, start: Tensor, y: Tensor) -> Tensor:
        gain = (self.mean + self.spread * y).clamp(-LARGEST, LARGEST)
        return joined(start * (self.share * gain).exp(), self.window, self.hop)

    def _conditions(self, features: Tensor, start: Tensor, kept: Tensor) -> Tensor:
        known = torch.cat([features, self._level(start) / 2 + 2], -1)
        return torch.where(kept[:, None, None], self.condition(known), self.nothing)

    def _velocity(self, state: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        moment = self.time(embedding(time))
        x = self.state(state) + condition
        for block, shift in zip(self.blocks, self.moments, strict=True):
            x = block(x + shift(moment)[:, None])
        return self.velocity(self.norm(x))


def embedding(time: Tensor) -> Tensor:
    """Times `[batch]` from 0 to 1 as sines and cosines `[batch, TIMES]`."""
    frequencies = torch.logspace(-0.5, 2, TIMES // 2, device=time.device)
    phases = time[:, None] * frequencies
    return torch.cat([phases.sin(), phases.cos()], -1)
