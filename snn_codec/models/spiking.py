"""The spiking bottleneck: features to binary events and back, plain (the paper's) or residual (ours).

The N units stand in G groups of N / G. Group k sees what the groups before it have not yet explained:

    r_1 = x;   z_k = H(BN_k(L_k r_k));   r_(k+1) = r_k - D_k (2 z_k - 1);   x' = sum_k D_k (2 z_k - 1)

Because everything before the neuron is linear, the residual need not be computed: with s = 2 z - 1,

    L_k r_k = L_k x - sum_(j<k) (L_k D_j) s_j

which is lateral inhibition within a time step, by the fixed matrices L_k D_j. With one group this is the
paper's bottleneck, `z = H(BN(L x))`, followed by the decoder's first linear layer D.

Departs: the paper has one group only. Its pseudo-derivative is a triangle; the default here is snntorch's
fast sigmoid (`snn_codec.models.surrogates`).
"""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from snn_codec.errors import UserError
from snn_codec.models.surrogates import LazySurrogate, for_search
from snn_codec.settings import Spiking


class SpikingBottleneck(nn.Module):
    """N binary units between an encoder's and a decoder's features.

    Args:
        width: Size of the features.
        units: N, the number of units.
        settings: Groups, surrogate and neuron.

    Raises:
        UserError: The units cannot be split into that many groups, or there is no such surrogate.
    """

    def __init__(self, width: int, units: int, settings: Spiking):
        super().__init__()
        if units % settings.groups:
            raise UserError(f"{units} units cannot be split into {settings.groups} equal groups")
        self.group_size = units // settings.groups
        self.stateless = settings.beta == 0
        self.encode_weight = nn.Parameter(torch.empty(units, width))
        nn.init.orthogonal_(self.encode_weight)
        # BN gives u unit variance; 0.8 is the mean of |u|, so each unit starts as the best one-bit quantiser
        self.decode_weight = nn.Parameter(0.8 * self.encode_weight.detach().t().contiguous())
        self.norms = nn.ModuleList(nn.BatchNorm1d(self.group_size) for _ in range(settings.groups))
        self.neuron = snntorch.Leaky(
            beta=settings.beta,
            threshold=settings.threshold,
            reset_mechanism=settings.reset,
            spike_grad=LazySurrogate(settings.surrogate, settings.slope),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features `[batch, step, width]` -> (reconstruction, spikes `[batch, unit, step]`, relative residual)."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            spikes = self.encode(features)
            quantised = self.decode(spikes)
            return quantised, spikes, (features - quantised).square().sum() / features.square().sum()

    def encode(self, features: Tensor) -> Tensor:
        """Features `[batch, step, width]` -> spikes `[batch, unit, step]`, 0 or 1, with surrogate gradients."""
        return self.encode_with_membrane(features)[0]

    def encode_with_membrane(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, and the neurons' membrane minus threshold, `[batch, unit, step]`."""
        drive = nn.functional.linear(features, self.encode_weight)
        lateral = self.lateral_weight()
        spikes: list[Tensor] = []
        membranes: list[Tensor] = []
        for k, norm in enumerate(self.norms):
            group = slice(k * self.group_size, (k + 1) * self.group_size)
            current = drive[..., group]
            if k:
                signs = torch.cat(spikes, -1) * 2 - 1
                current = current - nn.functional.linear(signs, lateral[group, : group.start])
            current = norm(current.flatten(0, 1)).view_as(current)
            spike, membrane = self._fire(current)
            spikes.append(spike)
            membranes.append(membrane)
        return torch.cat(spikes, -1).transpose(1, 2), torch.cat(membranes, -1).transpose(1, 2)

    def decode(self, spikes: Tensor) -> Tensor:
        """Spikes `[batch, unit, step]` -> features `[batch, step, width]`: `sum_k D_k (2 z_k - 1)`."""
        return nn.functional.linear(spikes.transpose(1, 2) * 2 - 1, self.decode_weight)

    def search_step(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the surrogate gradient of a search: (reconstruction, spikes `[batch, unit, step]`)."""
        with for_search(self.neuron):
            spikes = self.encode(features)
        return self.decode(spikes), spikes

    def lateral_weight(self) -> Tensor:
        """`L D`, `[unit, unit]`: what a unit's sign takes off the drive of the units in later groups."""
        return self.encode_weight @ self.decode_weight

    def _fire(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Current `[batch, step, unit]` -> (spikes, membrane minus threshold), from a membrane at rest."""
        if self.stateless:  # no memory, so that all steps are one call
            spikes, membrane = self.neuron(current, torch.zeros_like(current))
        else:
            membrane = torch.zeros_like(current[:, 0])
            steps = []
            for t in range(current.shape[1]):
                steps.append(self.neuron(current[:, t], membrane))
                membrane = steps[-1][1]
            spikes, membrane = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        self.neuron.mem = current.new_zeros(0)  # snntorch keeps the last membrane, and with it the graph
        return spikes, membrane - self.neuron.threshold
