"""Residual vector quantisation, the paper's baseline: codebooks whose indices travel as binary units.

Codebook k quantises what those before it left over; an index of 1024 is 10 bits, most significant first, so
8 codebooks are the 80 units of an event matrix, and every file and tool works for it. The quantiser is that of
`vector-quantize-pytorch` (`pip install "snn_codec[rvq]"`): codebooks are moving averages, started by k-means, and
codes that die are revived.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snn_codec.costs import bit_length
from snn_codec.errors import UserError
from snn_codec.settings import RVQ


class ResidualVectorQuantiser(nn.Module):
    """N bits of indices between an encoder's and a decoder's features.

    Args:
        width: Size of the features.
        units: N, the number of bits of all indices.
        settings: Codebooks and codes.

    Raises:
        UserError: The indices do not have N bits, or the package is missing.
    """

    def __init__(self, width: int, units: int, settings: RVQ):
        super().__init__()
        self.bits = bit_length(settings.codes)
        if settings.codes < 2 or settings.codes != 1 << self.bits:
            raise UserError(f"codes must be a power of two, not {settings.codes}")
        if settings.codebooks < 1 or settings.codebooks * self.bits != units:
            raise UserError(
                f"{settings.codebooks} codebooks of {settings.codes} codes are "
                f"{settings.codebooks * self.bits} bits, but the model has {units} units; set model.units"
            )
        try:
            from vector_quantize_pytorch import ResidualVQ
        except ImportError as error:
            raise UserError(
                'residual vector quantisation needs a package: pip install "snn_codec[rvq]"'
            ) from error
        self.quantiser = ResidualVQ(
            dim=width,
            num_quantizers=settings.codebooks,
            codebook_size=settings.codes,
            decay=settings.decay,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=settings.revive_below,
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features `[batch, step, width]` -> (quantised, bits `[batch, unit, step]` in {0, 1}, relative residual).

        Gradients pass the quantiser straight through; that of the residual draws features to their codes.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            quantised, indices, _ = self.quantiser(features)
            quantised = quantised.detach()
            residual = (features - quantised).square().sum() / features.detach().square().sum()
            # the library's own straight-through estimator adds up one gradient for each codebook
            return features + (quantised - features).detach(), self._to_bits(indices), residual

    def encode(self, features: Tensor) -> Tensor:
        """Features `[batch, step, width]` -> bits `[batch, unit, step]`, 0 or 1."""
        with torch.autocast(features.device.type, enabled=False):
            _, indices, _ = self.quantiser(features.float())
            return self._to_bits(indices)

    def decode(self, spikes: Tensor) -> Tensor:
        """Bits `[batch, unit, step]` -> features `[batch, step, width]`, the sum of the codes."""
        batch, units, steps = spikes.shape
        values = 1 << torch.arange(self.bits - 1, -1, -1, device=spikes.device)
        bits = spikes.transpose(1, 2).reshape(batch, steps, units // self.bits, self.bits)
        return self.quantiser.get_output_from_indices((bits.long() * values).sum(-1))

    def search_step(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, in a search (`snn_codec.search`): (quantised, bits `[batch, unit, step]`)."""
        return self(features)[:2]

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *options: Any) -> None:
        """Scalars of vector-quantize-pytorch have had the shapes [] and [1], by version: take both."""
        for name, own in self.state_dict(prefix=prefix).items():
            if name in state and own.numel() == state[name].numel() == 1:
                state[name] = state[name].view_as(own)
        super()._load_from_state_dict(state, prefix, *options)

    def _to_bits(self, indices: Tensor) -> Tensor:
        """Indices `[batch, step, codebook]` -> `[batch, unit, step]`."""
        shifts = torch.arange(self.bits - 1, -1, -1, device=indices.device)
        return (indices[..., None] >> shifts & 1).flatten(2).transpose(1, 2).float()
