"""A thermometer of spiking neurons: many units, few events.

Feature x_k (a coefficient in units of its quantiser's step) drives units of both signs at rising thresholds,

    z_kj+ = H(x_k / s_b - theta_j),   z_kj- = H(-x_k / s_b - theta_j),

with b the band of bin k. In the paper's terms this is `z = H(BN(L x))`: each row of L has one entry, 1 or -1, and the
batch norm has fixed statistics (mean 0, variance 1), scale 1 / s_b and shift -theta_j. There are no lateral
connections. The read-out is linear, x'_k = s_b sum_j r_j (z_kj+ - z_kj-), with r_j what threshold j adds. A coefficient
that the first threshold is not reached by costs no event. Thresholds theta, band scales s and read-out r are trained
through surrogate gradients.

Units are ordered by bin, so by frequency: of each bin first the positive units by rising threshold, then the negative.

Departs: the paper's L is dense and its N is 80.
"""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from snn_codec import settings as config
from snn_codec.models.surrogates import LazySurrogate
from snn_codec.thermometer import Layout, levels

FIRST = 0.66  # the first threshold, in steps: between two levels the higher one costs more bits, so less is rounded up
OFFSET = 0.53  # and the others


class Thermometer(nn.Module):
    """N binary units between coefficients and their read-out.

    Args:
        width: Number of bins.
        units: N, the number of units.
        settings: Bands, thresholds and surrogate (`settings.Thermometer`).

    Attributes:
        layout: Which unit stands for what.
    """

    stateless = True

    def __init__(self, width: int, units: int, settings: config.Thermometer):
        super().__init__()
        self.layout = Layout(settings.edges, settings.thresholds)
        said = torch.from_numpy(levels(max(settings.thresholds), settings.uniform, settings.ratio)).float()
        middles = said[:-1] + (said[1:] - said[:-1]) * OFFSET
        self.thresholds = nn.Parameter(torch.cat([torch.tensor([FIRST]), middles]))
        self.increments = nn.Parameter(torch.diff(said, prepend=torch.zeros(1)))
        self.log_scale = nn.Parameter(torch.zeros(settings.scales))
        for name in ("bin", "sign", "threshold", "first", "count"):
            self.register_buffer(
                f"unit_{name}", torch.from_numpy(getattr(self.layout, name)), persistent=False
            )
        self.register_buffer("unit_places", torch.arange(len(said)), persistent=False)
        self.neuron = snntorch.Leaky(
            beta=0.0,
            threshold=0.0,
            reset_mechanism="none",
            spike_grad=LazySurrogate(settings.surrogate, settings.slope),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features `[batch, step, bin]` -> (read-out, events `[batch, unit, step]`, relative error of the read-out)."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            spikes = self.encode(features)
            quantised = self.decode(spikes)
            return quantised, spikes, (features - quantised).square().sum() / features.square().sum()

    def encode(self, features: Tensor) -> Tensor:
        """Features `[batch, step, bin]` -> events `[batch, unit, step]`, 0 or 1, with surrogate gradients."""
        if torch.is_grad_enabled():
            return self.encode_with_membrane(features)[0]
        return self._encode_few(features)

    def encode_with_membrane(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, and what the neurons compare with zero, `[batch, unit, step]`."""
        weight, bias = self.norm()
        drive = features[..., self.unit_bin] * self.unit_sign.to(features) * weight + bias
        spikes, membrane = self.neuron(drive, torch.zeros_like(drive))
        self.neuron.mem = drive.new_zeros(0)  # snntorch keeps the last membrane, and with it the graph
        return spikes.transpose(1, 2), membrane.transpose(1, 2)

    def _encode_few(self, features: Tensor) -> Tensor:
        """The same events, worked out only where a first threshold is passed."""
        events = features.new_zeros(features.shape[0], self.layout.units, features.shape[1])
        batch, step, unit = self.indices(features)
        events[batch, unit, step] = 1
        return events

    @torch.no_grad()
    def indices(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features -> batch, step and unit of each event, sorted: int64 `[n]` each."""
        features = features.float()
        batch, step, bin, passed = self._passed(features)
        units = self.unit_first[bin] + torch.where(features[batch, step, bin] < 0, self.unit_count[bin], 0)
        cell, threshold = passed.nonzero(as_tuple=True)
        return batch[cell], step[cell], units[cell] + threshold

    def _passed(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Batch, step and bin of the coefficients that pass a threshold, and which they pass, bool `[n, threshold]`."""
        magnitudes = features.abs() * (1 / self.scale())
        batch, step, bin = (magnitudes - self.thresholds.min() > 0).nonzero(as_tuple=True)
        passed = magnitudes[batch, step, bin][:, None] - self.thresholds > 0
        return batch, step, bin, passed & (self.unit_places < self.unit_count[bin][:, None])

    @torch.no_grad()
    def magnitudes(self, features: Tensor) -> Tensor:
        """Features -> signed numbers of thresholds passed, int16 `[batch, step, bin]`."""
        batch, step, bin, passed = self._passed(features.float())
        signed = torch.zeros(features.shape, dtype=torch.int16, device=features.device)
        signed[batch, step, bin] = (passed.sum(1) * features[batch, step, bin].sign()).to(torch.int16)
        return signed

    def quantise(self, features: Tensor) -> Tensor:
        """Features -> what `decode` reads out of their events; gradients reach the read-out, not the thresholds."""
        with torch.no_grad():
            batch, step, bin, passed = self._passed(features)
        added = (
            (passed * self.increments).sum(1) * self.scale().detach()[bin] * features[batch, step, bin].sign()
        )
        return torch.zeros_like(features).index_put((batch, step, bin), added)

    def decode(self, spikes: Tensor) -> Tensor:
        """Events `[batch, unit, step]` -> features `[batch, step, bin]`, by a linear read-out."""
        zeros = spikes.new_zeros(spikes.shape[0], spikes.shape[2], self.layout.bins)
        if torch.is_grad_enabled():
            return zeros.index_add(-1, self.unit_bin, spikes.transpose(1, 2) * self.readout())
        batch, unit, step = spikes.nonzero(as_tuple=True)
        values = self.readout()[unit] * spikes[batch, unit, step]
        return zeros.index_put((batch, step, self.unit_bin[unit]), values, accumulate=True)

    def decode_indices(self, step: Tensor, unit: Tensor, steps: int) -> Tensor:
        """As `decode`, of the step and unit of each event among so many steps: features `[1, step, bin]`."""
        readout = self.readout()
        zeros = readout.new_zeros(1, steps, self.layout.bins)
        places = (torch.zeros_like(step), step, self.unit_bin[unit])
        return zeros.index_put(places, readout[unit], accumulate=True)

    def norm(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of the batch norm, `[unit]` each."""
        return 1 / self.scale()[self.unit_bin], -self.thresholds[self.unit_threshold]

    def readout(self) -> Tensor:
        """What an event of each unit adds to its bin, `[unit]`."""
        return self.scale()[self.unit_bin] * self.unit_sign * self.increments[self.unit_threshold]

    def scale(self) -> Tensor:
        """s_b by bin, `[bin]`: interpolated between scales that are evenly spaced on an axis of log (bin + 16)."""
        places = torch.log2(torch.arange(self.layout.bins, device=self.log_scale.device) + 16.0)
        last = len(self.log_scale) - 1
        places = (places - places[0]) / (places[-1] - places[0]) * last
        below = places.floor().long()
        share = places - below
        above = (below + 1).clamp(max=last)
        return torch.exp(self.log_scale[below] * (1 - share) + self.log_scale[above] * share)
