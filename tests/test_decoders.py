"""Decoders beside a codec's own: training of those that sample, their place in a checkpoint, and decoding with them."""

import csv
import dataclasses
import json
import shutil
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch
from conftest import settled, small_model, tones
from safetensors.torch import load_file

from snn_codec import decoders, loudness
from snn_codec import settings as config
from snn_codec.cli import main
from snn_codec.codec import Codec
from snn_codec.decoders import Decoder, Sampling
from snn_codec.errors import UserError
from snn_codec.evaluation import coders
from snn_codec.training.loop import train
from snn_codec.training.run_folder import Run

FLOW = config.Flow(width=16, blocks=1, kernel=3, expansion=2, sampler_steps=2)
NAMES = ("plain", "gan", "flow")
UNET = config.Diffusion(
    channels=(2, 2, 4, 4, 4, 8, 8), factors=(1, 4, 4, 4, 2, 2, 2), items=(1,) * 7, sampler_steps=2
)


def network(settings, codec):
    torch.manual_seed(1)
    module = decoders.build(settings, codec)
    for parameter in module.parameters():  # what starts at zero, so that an untrained network hears its input
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return module.eval()


@pytest.fixture(scope="module")
def several(codec, tmp_path_factory):
    """A checkpoint with all three decoders."""
    folder = tmp_path_factory.mktemp("several") / "small"
    codec.save(folder)
    decoders.save(folder, config.Gan(), settled(small_model(), seed=3).decoder, codec.fingerprint)
    decoders.save(folder, FLOW, network(FLOW, codec), codec.fingerprint)
    return folder


@pytest.fixture(scope="module")
def events(codec):
    return codec.encode(tones(20.0), 22050)


def test_one_event_file_has_several_sounds(several, events):
    sounds = []
    for name in NAMES:
        codec = Codec.load(several, decoder=name)
        assert codec.decoders == NAMES and codec.fingerprint == events.fingerprint
        sounds.append(codec.decode(events))
        assert sounds[-1].shape == (events.n_samples,) and sounds[-1].dtype == np.float32
    assert not any(np.array_equal(sounds[i], sounds[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_same_seed_and_steps_same_sound(several, events):
    def decoded(*sampling):
        return Codec.load(several, decoder="flow", sampling=Sampling(*sampling)).decode(events)

    first = decoded()
    np.testing.assert_array_equal(decoded(2, 0, 1.0), first)
    for other in ((3,), (0, 1), (0, 0, 2.0)):
        assert not np.array_equal(decoded(*other), first)


@pytest.mark.parametrize("settings", [FLOW, UNET], ids=["flow", "diffusion"])
def test_chunks_make_the_sound_of_the_whole(settings):
    """Chunk by chunk as in one window: these small networks see less far than a window's context."""
    codec = settled(small_model(margin_steps=32))
    events, module = codec.encode(tones(20.0), 22050), network(settings, codec)
    codec.active_decoder = decoders.decoder(settings, module, codec, Sampling(1 if settings is UNET else 3))
    chunked = codec.decode(events)
    features = codec.bottleneck.decode(torch.tensor(events.events[None], dtype=torch.float32))
    with torch.no_grad():
        whole = codec.active_decoder(features, 0, codec.decoder)[0, : events.n_samples].numpy()
    whole = whole * loudness.gain(events.loudness, events.chunk_steps * events.hop, 0, events.n_samples)
    np.testing.assert_allclose(chunked, whole, atol=2e-4 * np.abs(whole).max())
    codec.active_decoder = None
    assert np.abs(chunked - codec.decode(events)).max() > 1e-3


def test_decoders_are_evaluated_by_name(several, tmp_path):
    several = shutil.copytree(several, tmp_path / "several")
    plain, gan, flow, longer = (coders.load(f"{several}{name}") for name in ("", "+gan", "+flow", "+flow:7"))
    clip = tones(plain.length / 22050)[: plain.length]
    coded = [coder.code(clip) for coder in (plain, gan, flow, longer)]
    assert len({row.kbps for row in coded}) == 1  # one code
    assert len({row.audio.tobytes() for row in coded}) == 4  # four sounds
    assert len({coder.fingerprint for coder in (plain, gan, flow, longer)}) == 4
    np.testing.assert_array_equal(
        coded[1].audio, Codec.load(several, decoder="gan").decode(gan.codec.encode(clip, 22050))
    )
    with pytest.raises(UserError, match="no levels; leave out @3"):
        coders.load(f"{several}+gan@3")
    decoders.save(
        several, config.Gan(), settled(small_model(), seed=4).decoder, gan.codec.fingerprint, force=True
    )
    assert coders.load(f"{several}+gan").fingerprint != gan.fingerprint  # trained anew


def test_a_border_is_faded_where_windows_differ():
    tail, chunk = np.ones(4, np.float32), np.zeros(8, np.float32)
    np.testing.assert_allclose(decoders.faded(tail, chunk), [0.875, 0.625, 0.375, 0.125, 0, 0, 0, 0])
    np.testing.assert_allclose(decoders.faded(tail, chunk[:2]), [0.75, 0.25])
    np.testing.assert_array_equal(decoders.faded(tail[:0], chunk), chunk)


def test_memory_is_that_of_a_window(several, events):
    """However long the recording is, the network never gets more than a chunk and its context."""
    codec, seen = Codec.load(several, decoder="flow"), []
    original = codec.active_decoder.module.sample
    codec.active_decoder.module.sample = lambda features, *more: (
        seen.append(features.shape[1]) or original(features, *more)
    )
    blocks = list(codec.decode_blocks(events))
    assert len(blocks) == events.n_chunks > 2
    assert max(seen) == 256 + 2 * codec.settings.margin_steps


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return [{name: v for name, v in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def train_small(music, checkpoint, folder, kind, *changes, resume=False):
    small = {"flow": FLOW, "diffusion": UNET}[kind]
    settings = config.load({"flow": "cpu-flow", "diffusion": "cpu-diffusion"}[kind], [
        "training.steps=6", "training.batch=2", "training.seconds=0.4", "training.warmup=2",
        "training.validate_every=3", "training.validation_clips=1", "training.precision=32-true",
        "training.optimizer=adamw", "training.checkpoint_minutes=0.0", "phase.spectral=0.2", *changes,
        *(f"phase.{name}={json.dumps(v)}" for name, v in config.to_dict(small).items()
          if name not in ("kind", "spectral")),
    ])  # fmt: skip
    run = Run(
        [music], folder, init_from=str(checkpoint), accelerator="cpu", workers=0, threads=1, resume=resume
    )
    train(settings, run)
    return folder


@pytest.mark.parametrize("kind", ["flow", "diffusion"])
def test_a_resumed_run_equals_an_uninterrupted_one(kind, music, several, tmp_path, monkeypatch):
    from snn_codec.training.sampled import SampledPhase

    whole = train_small(music, several, tmp_path / "whole", kind)
    original = SampledPhase.train_step

    def dies_at_step_four(self, step, batch, *, logged):
        if step == 4:
            raise KeyboardInterrupt
        return original(self, step, batch, logged=logged)

    monkeypatch.setattr(SampledPhase, "train_step", dies_at_step_four)
    with pytest.raises(KeyboardInterrupt):
        train_small(music, several, tmp_path / "cut", kind)
    monkeypatch.undo()
    cut = train_small(music, several, tmp_path / "cut", kind, resume=True)
    assert rows(cut) == rows(whole) and len(rows(cut)) == 2
    one, other = (load_file(folder / "state.safetensors") for folder in (whole, cut))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    best = Codec.load(cut / "best", decoder=kind)
    assert best.decoders == (NAMES if kind == "flow" else (*NAMES, kind))  # those of the checkpoint stay
    assert best.active_decoder.settings.kind == kind
    assert best.fingerprint == Codec.load(several).fingerprint


def test_decode_by_the_command_line(several, events, tmp_path, capsys):
    from snn_codec.storage import spk

    spk.write(tmp_path / "a.spk", events)
    heard = {}
    for name, more in (("plain", []), ("gan", []), ("flow", ["--steps", "1", "--seed", "7"])):
        target = tmp_path / f"{name}.wav"
        command = ["decode", str(tmp_path / "a.spk"), "-o", str(target), "--model", str(several)]
        assert main([*command, "--decoder", name, *more]) == 0
        heard[name] = soundfile.read(target)[0]
    expected = Codec.load(several, decoder="flow", sampling=Sampling(1, 7)).decode(events)
    np.testing.assert_allclose(heard["flow"], expected.clip(-1, 1), atol=1e-4)
    assert not np.array_equal(heard["plain"], heard["gan"])
    capsys.readouterr()
    assert main([*command, "--decoder", "tape", "--force"]) == 2
    assert "has no decoder 'tape'; it has plain, gan, flow" in capsys.readouterr().err
    assert main([*command, "--decoder", "flow", "--steps", "-1", "--force"]) == 2
    assert "steps" in capsys.readouterr().err
    for name in ("plain", "gan"):
        assert main([*command, "--decoder", name, "--seed", "1", "--guidance", "2", "--force"]) == 2
        assert f"the decoder {name} has no seed and no guidance to choose" in capsys.readouterr().err
    with pytest.raises(UserError, match="the decoder gan has no steps to choose"):
        coders.load(f"{several}+gan:7")


def test_what_does_not_belong_together_is_refused(several, codec, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(several, folder)
    settled(small_model(), seed=5).save(folder, force=True)
    other = Codec.load(folder).fingerprint
    with pytest.raises(
        UserError, match=f"trained for the model {codec.fingerprint}, but the model there is {other}"
    ):
        Codec.load(folder, decoder="gan")


def test_damage_is_named(several, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(several, folder)
    entries = json.loads((folder / "decoders.json").read_text())
    weights = (folder / "decoder-gan.safetensors").read_bytes()
    (folder / "decoder-gan.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"decoder-gan\.safetensors: is missing or damaged"):
        Codec.load(folder, decoder="gan")
    for damaged, words in (
        ("[", "is damaged"), ("[1]", "is damaged"), ('{"gan": {}}', "is damaged"),
        (json.dumps({"gan": entries["gan"] | {"settings": {"kind": "flow"}}}), "which is no gan decoder"),
        (json.dumps({"gan": entries["gan"] | {"settings": {"kind": "gan", "x": 1}}}), "unknown key 'x'"),
    ):  # fmt: skip
        (folder / "decoders.json").write_text(damaged)
        with pytest.raises(UserError, match=words):
            Codec.load(folder, decoder="gan")


def test_8_bit_weights_take_a_quarter_of_the_bytes_and_sound_alike(several, codec, events, tmp_path):
    folder = tmp_path / "half"
    codec.save(folder)
    assert decoders.copy(several, folder, codec, weights="int8") == ["gan", "flow"]
    sizes = [(place / "decoder-flow.safetensors").stat().st_size for place in (several, folder)]
    assert sizes[1] < 0.6 * sizes[0]
    full, half = (Codec.load(place, decoder="gan").decode(events) for place in (several, folder))
    assert np.abs(full - half).max() < 0.02 * np.abs(full).max()
    with pytest.raises(UserError, match="exists already"):
        decoders.copy(several, folder, codec)


def old_folder(several, folder):
    """As the version before wrote it: the flow-matching decoder is called `diffusion`."""
    shutil.copytree(several, folder)
    (folder / "decoder-flow.safetensors").rename(folder / "decoder-diffusion.safetensors")
    entries = json.loads((folder / "decoders.json").read_text())
    entries["diffusion"] = entries.pop("flow")
    (folder / "decoders.json").write_text(json.dumps(entries))
    return folder


def test_folders_of_the_version_before_are_read(several, events, tmp_path):
    old = old_folder(several, tmp_path / "old")
    assert Codec.load(old).decoders == NAMES
    expected = Codec.load(several, decoder="flow").decode(events)
    np.testing.assert_array_equal(Codec.load(old, decoder="flow").decode(events), expected)
    with pytest.warns(FutureWarning, match="'diffusion' is called 'flow' now"):
        found = Codec.load(old, decoder="diffusion")
    assert found.active_decoder.name == "flow"
    np.testing.assert_array_equal(found.decode(events), expected)


def test_a_unet_beside_a_flow_of_the_version_before(several, codec, events, tmp_path):
    old = old_folder(several, tmp_path / "old")
    decoders.save(old, UNET, network(UNET, codec), codec.fingerprint)
    assert Codec.load(old).decoders == (*NAMES, "diffusion")
    expected = Codec.load(several, decoder="flow").decode(events)
    np.testing.assert_array_equal(Codec.load(old, decoder="flow").decode(events), expected)
    assert not np.array_equal(Codec.load(old, decoder="diffusion").decode(events), expected)


@dataclasses.dataclass(frozen=True)
class Echo(config.Phase):
    """A kind of decoder from outside of the package: this, and the class that it names."""

    decoder_class = "test_decoders:EchoDecoder"

    kind: Literal["echo"] = "echo"
    steps: int = config.setting(2, "how much later the echo is, in steps", least=1)


class EchoDecoder(Decoder):
    @staticmethod
    def build(settings, codec):
        return torch.nn.Linear(1, 1, bias=False)

    def __call__(self, inputs, first, plain, level=None):
        sound = plain(inputs)
        late = self.settings.steps * sound.shape[-1] // inputs.shape[1]
        return sound + self.module.weight[0] * torch.nn.functional.pad(sound, (late, 0))[:, : sound.shape[-1]]


def test_a_kind_of_decoder_from_outside_is_a_class_and_its_settings(codec, events, tmp_path):
    codec.save(tmp_path / "model")
    module = decoders.build(Echo(steps=3), codec)
    torch.nn.init.constant_(module.weight, 0.5)
    decoders.save(tmp_path / "model", Echo(steps=3), module, codec.fingerprint)
    assert "echo" in decoders.names()
    loaded = Codec.load(tmp_path / "model", decoder="echo")
    plain, heard = codec.decode(events)[: 200 * 512], loaded.decode(events)[: 200 * 512]
    gain = loudness.gain(events.loudness, 256 * 512, 0, len(plain))
    late = np.pad(plain / gain, (3 * 512, 0))[: len(plain)] * gain
    np.testing.assert_allclose(heard, plain + 0.5 * late, atol=1e-4 * np.abs(plain).max())
