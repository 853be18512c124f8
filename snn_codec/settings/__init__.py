"""Settings: frozen, checked dataclasses of a codec and its training, presets of them, and their form in files.

Preset or JSON, and `--set key=value`, become a dataclass (`parse`), which networks are made of and checkpoints keep.
"""

from snn_codec.settings.fields import Part, Settings, setting
from snn_codec.settings.model import (
    RVQ,
    Bottleneck,
    Conformer,
    Decoder,
    Encoder,
    Mel,
    MelBits,
    Model,
    ModelPart,
    SEANet,
    Spectral,
    Spiking,
    identity,
)
from snn_codec.settings.parse import (
    check_phase,
    from_dict,
    list_settings,
    load,
    settings_table,
    to_dict,
)
from snn_codec.settings.presets import PRESETS, phase_preset
from snn_codec.settings.training import (
    Augmentation,
    Config,
    Diffusion,
    Discriminators,
    Flow,
    Gan,
    Loss,
    Phase,
    Plain,
    Shares,
    Sparsity,
    Training,
)

__all__ = [
    "PRESETS",
    "RVQ",
    "Augmentation",
    "Bottleneck",
    "Config",
    "Conformer",
    "Decoder",
    "Diffusion",
    "Discriminators",
    "Encoder",
    "Flow",
    "Gan",
    "Loss",
    "Mel",
    "MelBits",
    "Model",
    "ModelPart",
    "Part",
    "Phase",
    "Plain",
    "SEANet",
    "Settings",
    "Shares",
    "Sparsity",
    "Spectral",
    "Spiking",
    "Training",
    "check_phase",
    "from_dict",
    "identity",
    "list_settings",
    "load",
    "phase_preset",
    "setting",
    "settings_table",
    "to_dict",
]
