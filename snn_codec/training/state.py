"""The state of a run in a file: weights and buffers of networks, moments of optimisers, and some facts as text.

A tensor's name is `NETWORK.NAME` or `optimizer.NUMBER.PARAMETER.NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from snn_codec.errors import UserError
from snn_codec.files import replacing

OLD_NAMES = {"meter.": "rate_estimator."}  # how names began in the version before


def write_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[torch.optim.Optimizer],
    facts: Mapping[str, str],
) -> None:
    """Write all that is needed to resume exactly.

    Raises:
        UserError: The file cannot be written.
    """
    tensors = {
        f"{part}.{name}": value
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for number, optimiser in enumerate(optimisers):
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{number}.{index}.{name}": torch.as_tensor(value)
                for name, value in moments.items()
            }
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    with replacing(path, force=True) as temporary:
        save_file(copies, temporary, metadata=dict(facts))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and facts of a file.

    Raises:
        UserError: It is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            facts = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is damaged ({error}); start again without --resume") from error
    for old, new in OLD_NAMES.items():
        tensors = {
            new + name.removeprefix(old) if name.startswith(old) else name: value
            for name, value in tensors.items()
        }
    return tensors, facts


def load_state(
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Put the tensors of `read_state` into networks and optimisers."""
    for part, module in modules.items():
        start = f"{part}."
        module.load_state_dict(
            {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        )
    moments: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimisers]
    for name, value in tensors.items():
        part, *place = name.split(".")
        if part == "optimizer":
            number, index, key = place
            moments[int(number)].setdefault(int(index), {})[key] = value
    for optimiser, state in zip(optimisers, moments, strict=True):
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
