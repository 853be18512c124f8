"""Train with a surrogate gradient of one's own, here a Gaussian, named as `module:function:parameter`.

    python examples/add_a_surrogate.py [FOLDER TO WRITE TO]

The command line takes such a name wherever it takes one of ours, from the folder of this file:
`snn-codec train cpu-free --set model.bottleneck.surrogate=add_a_surrogate:gauss:0.5 --data DATA --run RUN`.
"""

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from snn_codec import Codec
from snn_codec import settings as config
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run


class Gauss(torch.autograd.Function):
    """Forward a Heaviside step, as all must be; backward a Gaussian of width sigma."""

    @staticmethod
    def forward(ctx, membrane: Tensor, sigma: float) -> Tensor:
        ctx.save_for_backward(membrane)
        ctx.sigma = sigma
        return (membrane > 0).to(membrane.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (membrane,) = ctx.saved_tensors
        bell = torch.exp(-((membrane / ctx.sigma) ** 2) / 2) / (ctx.sigma * math.sqrt(2 * math.pi))
        return gradient * bell, None


def gauss(sigma: float):
    """What the name `add_a_surrogate:gauss:SIGMA` stands for: a function of membrane minus threshold."""
    return lambda membrane: Gauss.apply(membrane, sigma)


if __name__ == "__main__":
    name = "add_a_surrogate:gauss:0.5"
    membrane = torch.tensor([-1.0, 0.0, 0.5], requires_grad=True)
    gauss(0.5)(membrane).sum().backward()
    slopes = ", ".join(f"{slope:.3f}" for slope in membrane.grad.tolist())
    print(f"surrogate derivative at -1, 0, 0.5: {slopes}")

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    changes = ["units=32", "encoder.width=32", "decoder.width=32", "encoder.blocks=1", "decoder.blocks=1"]
    changes = [f"model.{change}" for change in [*changes, f"bottleneck.surrogate={name}"]]
    short = "steps=10 batch=2 seconds=1 warmup=5 validate_every=10 validation_clips=1 optimizer=adamw".split()
    settings = config.load("cpu-free", [*changes, *(f"training.{change}" for change in short)])
    data = Path(__file__).parent.parent / "data" / "recording"
    best = train(settings, Run([data], folder / "gauss", accelerator="cpu", threads=1, force=True))
    print(f"{best}: trained with {Codec.load(best).settings.bottleneck.surrogate}")
