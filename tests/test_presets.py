"""Every preset of a first phase builds, takes two steps on a batch, and has as many parameters as written here."""

import dataclasses

import pytest
import torch

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.training.losses import training_loss
from snn_codec.training.optim import optimisers

PARAMETERS = {
    "cpu-free": 4_270_498,
    "cpu-free-plain": 4_270_498,
    "cpu-rvq": 4_229_378,
    "cpu-mel": 2_124_034,
    "cpu-sparse": 5_725_834,
    "cpu-mu-sparse": 5_742_218,
    "paper-free": 15_265_666,
    "paper-rvq": 15_245_026,
    "paper-mel": 7_626_850,
    "paper-sparse": 25_743_490,
    "paper-mu-sparse": 25_759_874,
}


@pytest.mark.parametrize(
    "name", [name for name, preset in config.PRESETS.items() if preset.phase.kind == "plain"]
)
def test_a_preset_builds_and_learns_for_two_steps(name):
    preset = config.PRESETS[name]
    if preset.model.bottleneck.kind == "rvq":
        pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    codec = Codec(preset.model)
    assert sum(parameter.numel() for parameter in codec.parameters()) == PARAMETERS[name]
    training = dataclasses.replace(preset.training, optimizer="adamw")  # Muon is not in the oldest torch
    chosen = optimisers(codec, training)
    audio = torch.randn(1, 16 * 512)
    level = torch.tensor([[3.0]]) if preset.model.levels else None
    before = [parameter.detach().clone() for parameter in codec.parameters()]
    for _ in range(2):
        loss, _ = training_loss(codec(audio, level), audio, training.loss)
        assert torch.isfinite(loss)
        loss.backward()
        for optimizer in chosen:
            optimizer.step()
            optimizer.zero_grad()
    moved = [not torch.equal(a, b) for a, b in zip(before, codec.parameters(), strict=True)]
    assert sum(moved) > 0.9 * len(moved)
