"""Named settings of whole training runs."""

from __future__ import annotations

import dataclasses

from snn_codec.errors import UserError
from snn_codec.settings.model import RVQ, Conformer, Mel, MelBits, Model, SEANet, Spiking
from snn_codec.settings.training import (
    Augmentation,
    Coefficients,
    Config,
    Diffusion,
    Discriminators,
    Filling,
    Flow,
    Gan,
    Phase,
    Shares,
    Sparsity,
    Training,
)
from snn_codec.settings.wide import Mdct, Thermometer

_CPU = Training(steps=7000, batch=8, optimizer="muon")
_CLEAN = Augmentation(noise_db=0.0)  # noise is nothing that a decoder should learn to make

_GPU = Training(
    steps=500_000,
    batch=32,
    seconds=2**17 / 22050,
    learning_rate=1e-4,
    betas=(0.95, 0.99),
    weight_decay=1e-3,
)
_PAPER = Model(encoder=SEANet(), decoder=SEANet())
# d = 256 is the width of all features here, so SEANet's is that, too (the paper's: 128)
_PAPER_CONFORMER = Model(
    encoder=SEANet(width=256),
    decoder=SEANet(width=256),
    conformer=Conformer(layers=8, heads=4, feedforward=128, kernel=5, window=0, dropout=0.1),
)

# N = 38 400: a thermometer for each of the 1024 coefficients of a step
_WIDE = Model(
    hop=2048,
    units=38_400,
    encoder=Mdct(),
    bottleneck=Thermometer(),
    decoder=Mdct(),
    chunk_steps=64,
    margin_steps=6,
    levels=32,
)

PRESETS: dict[str, Config] = {
    "cpu-free": Config(Model(bottleneck=Spiking(groups=8)), _CPU),
    "cpu-free-plain": Config(Model(), _CPU),
    "cpu-rvq": Config(Model(bottleneck=RVQ()), _CPU),
    "cpu-mel": Config(Model(units=1024, encoder=Mel(), bottleneck=MelBits()), _CPU),
    "cpu-sparse": Config(
        Model(bottleneck=Spiking(groups=8), conformer=Conformer(layers=1)),
        dataclasses.replace(_CPU, sparsity=Sparsity(goal=10.0, theta=0.5, start=0.05, stop=0.5)),
    ),
    "cpu-mu-sparse": Config(
        Model(bottleneck=Spiking(groups=8), conformer=Conformer(layers=1), levels=32),
        dataclasses.replace(
            _CPU,
            sparsity=Sparsity(goal=3.0, objective="rate", start=0.0, stop=0.05, densest=0.95, halving=8.0),
        ),
    ),
    "cpu-wide": Config(
        _WIDE,
        Training(steps=6000, batch=4, seconds=2**16 / 22050, warmup=100, validate_every=500),
        Coefficients(),
    ),
    "gpu-wide": Config(
        dataclasses.replace(_WIDE, decoder=Mdct(refined=1024, channels=96, blocks=4)),
        Training(steps=100_000, batch=64, seconds=2**17 / 22050, warmup=1000, validate_every=2000),
        Coefficients(),
    ),
    "cpu-filling": Config(
        training=Training(
            steps=3500,
            batch=6,
            seconds=64 * 2048 / 22050,
            warmup=100,
            validate_every=300,
            augmentation=dataclasses.replace(_CLEAN, probability=0.3),
        ),
        phase=Filling(bands=28, steps=24, width=128, blocks=5, spread=3, stft=1.5, mel=1.0, si_snr=0.3),
    ),
    "paper-free": Config(_PAPER, _GPU),
    "paper-rvq": Config(dataclasses.replace(_PAPER, bottleneck=RVQ(decay=0.99, revive_below=2.0)), _GPU),
    "paper-mel": Config(
        Model(units=1024, encoder=Mel(width=128), bottleneck=MelBits(), decoder=SEANet()), _GPU
    ),
    "paper-sparse": Config(
        _PAPER_CONFORMER,
        dataclasses.replace(_GPU, steps=1_000_000, sparsity=Sparsity(goal=5.0, start=0.3, stop=0.6)),
    ),
    "paper-mu-sparse": Config(
        dataclasses.replace(_PAPER_CONFORMER, levels=32),
        dataclasses.replace(
            _GPU,
            steps=1_000_000,
            sparsity=Sparsity(goal=3.0, start=0.3, stop=0.6, densest=1.0, halving=3.0),
        ),
    ),
    "cpu-gan": Config(
        training=Training(
            steps=400,
            batch=8,
            seconds=1.0,
            learning_rate=1e-3,
            betas=(0.8, 0.99),
            weight_decay=1e-3,
            warmup=100,
            ema=0.995,
            validate_every=100,
            augmentation=_CLEAN,
        ),
        phase=Gan(
            learning_rate=1e-3,
            shares=Shares(
                stft=3.0, mel=5.0, waveform=0.1, si_snr=0.3, adversarial=0.2, features=2.5
            ),  # more steps, or more of the adversary, are no better by ear models
        ),
    ),
    "cpu-flow": Config(
        training=dataclasses.replace(
            _CPU,
            steps=5000,
            learning_rate=1e-3,
            muon_learning_rate=3e-3,
            warmup=200,
            validate_every=500,
            augmentation=_CLEAN,
        ),
        phase=Flow(),
    ),
    "cpu-diffusion": Config(
        training=Training(
            steps=10_000,
            batch=8,
            seconds=1.5,
            learning_rate=5e-4,
            weight_decay=1e-3,
            validation_clips=8,
            augmentation=_CLEAN,
        ),
        phase=Diffusion(
            channels=(8, 16, 32, 64, 128, 256, 256),
            factors=(1, 4, 4, 4, 2, 2, 2),
            items=(1, 1, 1, 1, 1, 2, 2),
            sampler_steps=25,
        ),
    ),
    "paper-diffusion": Config(
        training=_GPU,
        phase=Diffusion(),
    ),
    "paper-gan": Config(
        training=dataclasses.replace(_GPU, betas=(0.5, 0.9)),
        phase=Gan(
            start=0,
            enough=0.0,
            learning_rate=3e-4,
            balance_decay=0.999,
            discriminators=Discriminators((2048, 1024, 512, 256, 128), channels=32, overlap=4, stride=1),
        ),
    ),
}


def phase_preset(phase: str | None) -> str:
    """The preset that a phase has unless another is named: the first of its kind.

    Raises:
        UserError: There is no such phase.
    """
    for name, preset in PRESETS.items():
        if preset.phase.kind == (phase or "plain"):
            return name
    raise UserError(f"--phase {phase}: must be one of {', '.join(Phase.kinds)}")
