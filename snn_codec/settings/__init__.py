"""One path from preset or JSON and `--set key=value` to frozen dataclasses, constructors and checkpoints.

A part that can be exchanged is a dataclass with a `kind`; `snn_codec.codec.build` turns it into a module.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from snn_codec.errors import UserError


@dataclass(frozen=True)
class Spectral:
    """Frame-rate encoder and decoder between an STFT and its inverse (`snn_codec.models.spectral`)."""

    kind: Literal["spectral"] = "spectral"
    window: int = 2048
    width: int = 256
    blocks: int = 4
    kernel: int = 7
    expansion: int = 3
    compression: float = 0.5


@dataclass(frozen=True)
class SEANet:
    """The paper's convolutional encoder and decoder on the waveform (`snn_codec.models.seanet`)."""

    kind: Literal["seanet"] = "seanet"
    filters: int = 32
    width: int = 128
    ratios: tuple[int, ...] = (8, 8, 4, 2)
    residual_blocks: int = 1
    lstm_layers: int = 2


@dataclass(frozen=True)
class Spiking:
    """Binary units in `groups`, each coding what those before it left over (`snn_codec.models.spiking`).

    One group is the paper's bottleneck, `z = H(BN(L x))`.
    """

    kind: Literal["spiking"] = "spiking"
    groups: int = 1
    surrogate: str = "fast_sigmoid"
    slope: float = 2.0
    beta: float = 0.0
    reset: Literal["none", "zero", "subtract"] = "none"
    threshold: float = 0.0


@dataclass(frozen=True)
class RVQ:
    """Residual vector quantisation, the paper's baseline (`snn_codec.models.rvq`).

    A code that on average takes less than `revive_below` features of a batch starts anew at a feature. A batch of
    `Training` has 0.7 features for each of 1024 codes, so a higher bound would throw away codes that are in use.
    """

    kind: Literal["rvq"] = "rvq"
    codebooks: int = 8
    codes: int = 1024
    decay: float = 0.98
    revive_below: float = 0.05


@dataclass(frozen=True)
class Mel:
    """A log mel spectrogram in an encoder's place (`snn_codec.models.mel`); `width` is the decoder's."""

    kind: Literal["mel"] = "mel"
    channels: int = 32
    window: int = 2048
    sample_rate: int = 22050
    highest_hz: float = 11025.0
    width: int = 256


@dataclass(frozen=True)
class MelBits:
    """The bits of a mel spectrogram's numbers (`snn_codec.models.mel`)."""

    kind: Literal["mel_bits"] = "mel_bits"


@dataclass(frozen=True)
class Conformer:
    """Conformer layers on both sides of the bottleneck (`snn_codec.models.conformer`): none, unless `layers` is set."""

    layers: int = 0
    heads: int = 4
    feedforward: int = 256
    kernel: int = 5
    window: int = 14
    dropout: float = 0.0


Encoder = Spectral | SEANet | Mel
Bottleneck = Spiking | RVQ | MelBits
Decoder = Spectral | SEANet
KINDS = {part.kind: part for part in (Spectral, SEANet, Mel, Spiking, RVQ, MelBits)}


@dataclass(frozen=True)
class Model:
    """A codec: three interchangeable parts, what stands between them, and the grid that they share.

    `levels` is how many compression levels it can be prompted with (mu-SPARSE: 32; else 0).
    """

    sample_rate: int = 22050
    hop: int = 512
    units: int = 80
    encoder: Encoder = field(default_factory=Spectral)
    bottleneck: Bottleneck = field(default_factory=Spiking)
    decoder: Decoder = field(default_factory=Spectral)
    context_steps: int = 32
    conformer: Conformer = field(default_factory=Conformer)
    levels: int = 0


@dataclass(frozen=True)
class Augmentation:
    """How training crops are varied, so that one sampled piano stands for many (`training.augmentation`)."""

    probability: float = 0.6
    tuning_cents: float = 50.0
    equaliser_db: float = 18.0
    tilt_db: float = 6.5
    reverb: float = 0.3
    noise_db: float = -50.0
    attenuation_db: float = 18.0


@dataclass(frozen=True)
class Loss:
    """Weights of the terms of the training loss (`training.losses`).

    That of `correlation` (`training.correlation`) grows during the warm-up.
    """

    stft: float = 1.0
    waveform: float = 5.0
    si_snr: float = 0.3
    residual: float = 0.25
    correlation: float = 0.0


@dataclass(frozen=True)
class Sparsity:
    """Pressure towards few events (`training.sparsity`): none, unless `goal` is set.

    `theta` is the target, in bits per cell, of the paper's formats (`storage`, Eq. 7) or of the entropy coder
    (`rate`); with `fill` the entropy coder should need at least as much, so that a dense model's events do not say
    the same twice. Lambda grows from `start` to `stop`, shares of all steps. A model with levels has a target for each
    instead: `densest` events per cell (`storage`, Eq. 8) or bits per cell (`rate`) at level 0, half as many every
    `halving` levels; `fill` has no levels. `top_share` of the samples are prompted with level 0, the others with any.
    """

    goal: float = 0.0
    objective: Literal["storage", "rate", "fill"] = "storage"
    theta: float = 0.9
    start: float = 0.1
    stop: float = 0.6
    densest: float = 0.5
    halving: float = 6.0
    top_share: float = 0.0


@dataclass(frozen=True)
class Training:
    """Optimisation of a codec (`training.loop`).

    With `frozen_norms`, the bottleneck's batch norm stays what it was in the model that training starts from, so that
    which levels a batch happens to have does not move the thresholds of all others.
    """

    steps: int = 5000
    batch: int = 8
    seconds: float = 2.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 2e-3
    muon_learning_rate: float = 5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-2
    warmup: int = 300
    clip: float = 1.0
    frozen_norms: bool = False
    ema: float = 0.999
    seed: int = 0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    validate_every: int = 1000
    validation_clips: int = 34
    checkpoint_minutes: float = 3.0
    loss: Loss = field(default_factory=Loss)
    sparsity: Sparsity = field(default_factory=Sparsity)
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Plain:
    """The first phase: encoder, bottleneck and decoder together (`training.plain`)."""

    kind: Literal["plain"] = "plain"


@dataclass(frozen=True)
class Discriminators:
    """Multi-scale complex-STFT discriminators (`models.discriminators`).

    Frames are a window's length over `overlap` apart; `stride` is the first layer's over frequency.
    """

    windows: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 16
    overlap: int = 2
    stride: int = 2
    compression: float = 0.5


@dataclass(frozen=True)
class Shares:
    """Shares of the decoder's gradient that the terms of the loss get, by the balancer (`training.adversarial`)."""

    stft: float = 1.0
    mel: float = 2.0
    waveform: float = 0.5
    si_snr: float = 1.0
    adversarial: float = 1.0
    features: float = 1.0


@dataclass(frozen=True)
class Gan:
    """Second phase of any decoder, against discriminators (`training.adversarial`).

    With `frozen`, encoder and bottleneck stay as they are, so that the events do. The decoder sees the discriminators
    from step `start` on. They are trained in a step with `probability`, and not if their loss is below `enough`.
    """

    kind: Literal["gan"] = "gan"
    frozen: bool = True
    loss: Literal["hinge", "squares"] = "hinge"
    start: int = 100
    probability: float = 0.67
    enough: float = 0.6
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.9)
    balance_decay: float = 0.99
    margin_db: float = 0.8
    shares: Shares = field(default_factory=Shares)
    discriminators: Discriminators = field(default_factory=Discriminators)


@dataclass(frozen=True)
class Flow:
    """Flow-matching decoder at the step rate, of the plain decoder's magnitudes (`models.flow`).

    Up to `crossover`, in Hz, the plain spectrum stays. `steps` and `temperature` are of the sampler; `floor` is a
    magnitude, re a normalised signal's level. In training, conditions are `dropped` with this probability, and
    `spectral` weighs the spectral distance (by t^2).
    """

    kind: Literal["flow"] = "flow"
    window: int = 1024
    crossover: float = 2000.0
    width: int = 320
    blocks: int = 5
    kernel: int = 7
    expansion: int = 3
    floor: float = 1e-4
    steps: int = 6
    temperature: float = 0.2
    dropped: float = 0.05
    spectral: float = 0.2
    margin_db: float = 3.0


@dataclass(frozen=True)
class Diffusion:
    """The paper's diffusion decoder, a U-Net on the waveform (`models.diffusion`): sizes of its nested blocks.

    Others as those of `Flow`. It is chosen by its mel distance alone: a sample has a waveform of its own.
    """

    kind: Literal["diffusion"] = "diffusion"
    channels: tuple[int, ...] = (8, 32, 64, 128, 256, 512, 512, 1024, 1024)
    factors: tuple[int, ...] = (1, 4, 4, 4, 2, 2, 2, 2, 2)
    items: tuple[int, ...] = (1, 2, 2, 2, 2, 2, 2, 4, 4)
    steps: int = 100
    dropped: float = 0.1
    spectral: float = 0.0
    margin_db: float = 1000.0


Phase = Plain | Gan | Flow | Diffusion
PHASES = {phase.kind: phase for phase in (Plain, Gan, Flow, Diffusion)}
KINDS |= PHASES


@dataclass(frozen=True)
class Config:
    """All that determines a training run, besides its data. Of a later phase, the model is a checkpoint's."""

    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    phase: Phase = field(default_factory=Plain)


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
            steps=25,
        ),
    ),
    "paper-diffusion": Config(
        training=Training(
            steps=500_000,
            batch=32,
            seconds=2**17 / 22050,
            learning_rate=1e-4,
            betas=(0.95, 0.99),
            weight_decay=1e-3,
        ),
        phase=Diffusion(),
    ),
    "paper-gan": Config(
        training=Training(
            steps=500_000,
            batch=32,
            seconds=2**17 / 22050,
            learning_rate=1e-4,
            betas=(0.5, 0.9),
            weight_decay=1e-3,
        ),
        phase=Gan(
            start=0,
            enough=0.0,
            learning_rate=3e-4,
            balance_decay=0.999,
            discriminators=Discriminators((2048, 1024, 512, 256, 128), channels=32, overlap=4, stride=1),
        ),
    ),
}


PHASE_PRESETS = {None: "cpu-free", "plain": "cpu-free", "gan": "cpu-gan", "diffusion": "cpu-flow"}
PHASE_OF = {
    "plain": "plain",
    "gan": "gan",
    "flow": "diffusion",
    "diffusion": "diffusion",
}  # by kind of settings


def check_phase(settings: Config, phase: str | None) -> None:
    """See that settings are of the phase that was asked for.

    Raises:
        UserError: They are not.
    """
    kind = settings.phase.kind
    if phase not in (None, PHASE_OF[kind]):
        raise UserError(
            f"--phase {phase}: the settings are of the phase {PHASE_OF[kind]} (phase.kind is {kind}); "
            f"leave --phase out, or use the preset {PHASE_PRESETS[phase]}"
        )


def from_dict(cls: type, data: Any, where: str = "config") -> Any:
    """`data`, as read from JSON, as an instance of the dataclass `cls`; unknown keys and wrong types fail.

    Raises:
        UserError: A key is unknown or a value has the wrong type; the message names its place.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected an object, found {data!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise UserError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(hints)}")
    return cls(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    if origin in (typing.Union, types.UnionType):
        kinds = {option.kind: option for option in arguments}
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if kind not in kinds:
            raise UserError(f"{where}.kind: must be one of {', '.join(kinds)}, not {kind!r}")
        return from_dict(kinds[kind], value, where)
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{where}: must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value


def identity(model: Model) -> dict[str, Any]:
    """What of a model's settings its fingerprint stands for: parts that it does not have are left out.

    So models that were trained before a part existed keep their fingerprint.
    """
    data = to_dict(model)
    if not model.conformer.layers:
        del data["conformer"]
    if not model.levels:
        del data["levels"]
    return data


def to_dict(config: Any) -> dict[str, Any]:
    """The JSON form of a config dataclass; `from_dict` is its inverse."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def load(name: str, settings: Iterable[str] = ()) -> Config:
    """The preset of this name or the JSON file at this path, changed by settings like `training.steps=100`.

    Raises:
        UserError: No such preset or file, or a setting that does not fit.
    """
    if name in PRESETS:
        data = to_dict(PRESETS[name])
    else:
        path = Path(name)
        if not path.is_file():
            raise UserError(f"{name}: no such preset or file; presets are {', '.join(PRESETS)}")
        try:
            data = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{name}: is not JSON ({error})") from error
        data = to_dict(from_dict(Config, data, name))
    for setting in settings:
        _apply(data, setting)
    return from_dict(Config, data)


def _apply(data: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--set {setting}: write it as key=value, as in training.steps=100")
    *path, last = key.split(".")
    place: Any = data
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise UserError(f"--set {setting}: there is no setting {key!r}")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if last == "kind" and value != place["kind"]:
        if value not in KINDS:
            raise UserError(f"--set {setting}: kinds are {', '.join(KINDS)}")
        place.clear()  # the other kind has other settings; start from its defaults
        place |= to_dict(KINDS[value]())
    place[last] = value
