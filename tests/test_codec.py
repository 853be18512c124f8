import json
import shutil

import numpy as np
import pytest
import torch
from conftest import settled, small_model, tones
from rasters import entropy_model
from safetensors.torch import save_file

from snn_codec import settings as config
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.metrics import si_snr

CHUNK = 256 * 512


@pytest.mark.parametrize(
    "n", [1, 2, 511, 512, 513, 1023, 5000, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 8 * 512 + 3]
)
def test_decoded_length_is_the_inputs(codec, n):
    events = codec.encode(tones(8.0)[:n], 22050)
    assert events.n_samples == n
    decoded = codec.decode(events)
    assert decoded.shape == (n,)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


def test_events_do_not_depend_on_how_audio_arrives(codec):
    audio = tones(21.0)
    whole = codec.encode(audio, 22050)
    assert whole.n_chunks == 4
    for sizes in ([1, 511, 70001, 13], [len(audio) - 1, 1], [131072], [9973]):
        blocks, at = [], 0
        while at < len(audio):
            size = sizes[len(blocks) % len(sizes)]
            blocks.append(audio[at : at + size])
            at += size
        assert codec.encode_blocks(blocks, 22050) == whole


def test_progress_is_told_in_seconds_of_whole_steps_chunk_by_chunk(codec):
    told = []
    codec.encode_blocks([tones(7.0)], 22050, progress=told.append)
    assert told == pytest.approx([CHUNK / 22050, 302 * 512 / 22050])  # 7 s fill 302 steps


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 192000])
def test_resampling_does_not_depend_on_blocks_either(codec, rate):
    audio = tones(7.0, rate)
    whole = codec.encode(audio, rate)
    assert whole.n_samples == -(-len(audio) * 22050 // rate)
    assert codec.encode_blocks([audio[:1], audio[1:99999], audio[99999:]], rate) == whole


@pytest.mark.parametrize("layers", [0, 1])
def test_chunks_are_cut_where_nothing_is_lost(layers):
    """The canonical grid gives what the networks give for the whole recording in one piece."""
    conformer = config.Conformer(layers=layers, heads=2, feedforward=16, kernel=3, window=3)
    codec = settled(small_model(conformer=conformer, levels=4))
    with torch.no_grad():
        for module in (codec.before, codec.after):
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    audio = tones(20.0)
    audio /= np.abs(audio).max()
    events = codec.encode(audio, 22050, level=2.5)
    flat = EventMatrix(
        events.events, 22050, 512, len(audio), codec.fingerprint, np.full(4, 160, np.uint8), 256,
        events.levels,
    )  # fmt: skip
    level = torch.tensor([[2.5]])
    with torch.inference_mode():
        quantised = codec.bottleneck.decode(torch.from_numpy(events.events[None].astype("f4")))
        once = codec.decoder(codec.after(quantised, level))[0]
    np.testing.assert_allclose(codec.decode(flat), once[: len(audio)].numpy(), atol=1e-5)


def test_batches_give_the_same_events(codec):
    audio = np.tile(tones(5.0), 12)
    one, eight = codec.encode(audio, 22050), codec.encode(audio, 22050, batch_size=8)
    assert _only_borderline_differs(codec, audio, one, eight)


def test_threads_give_the_same_events(codec):
    audio = np.tile(tones(5.0), 12)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = codec.encode(audio, 22050)
        torch.set_num_threads(2)
        two = codec.encode(audio, 22050)
    finally:
        torch.set_num_threads(threads)
    assert _only_borderline_differs(codec, audio, one, two)


def _only_borderline_differs(codec, audio, a, b):
    """At most 1 cell in 100 000 differs, and the first one of each step only within 1e-3 of its threshold.

    (In the residual form a unit that flips changes the drive of the units after it in the same step.)
    """
    differing = a.events != b.events
    membranes = codec.membranes(audio, 22050)
    first = differing & (np.cumsum(differing, 0) == 1)
    return differing.mean() <= 1e-5 and (np.abs(membranes[first]) < 1e-3).all()


@pytest.mark.parametrize("decibels", [-30, -60, 20])
def test_level_is_the_codecs_own_business(codec, decibels):
    audio = tones(13.0)
    gain = np.float32(10 ** (decibels / 20))
    loud, quiet = codec.encode(audio, 22050), codec.encode(audio * gain, 22050)
    assert (quiet.loudness.astype(int) - loud.loudness == decibels).all()
    assert (loud.events != quiet.events).mean() < 1e-3  # only the rounding of a float
    assert si_snr(codec.decode(quiet), codec.decode(loud)) > 30
    assert np.abs(codec.decode(quiet)).max() == pytest.approx(
        np.abs(codec.decode(loud)).max() * gain, rel=0.05
    )


def test_silence_decodes_to_silence(codec):
    events = codec.encode(np.zeros(200_000, np.float32), 22050)
    assert np.abs(codec.decode(events)).max() < 1e-6


def test_stereo_is_mixed_down(codec):
    audio = tones(3.0)
    stereo = np.stack([audio * 1.5, audio * 0.5], 1)
    assert codec.encode(stereo, 22050) == codec.encode(audio, 22050)


def test_sound_far_beyond_full_scale_has_the_same_events(codec):
    events = codec.encode(tones(3.0), 22050)
    loud = codec.encode(tones(3.0) * 10 ** (85 / 20), 22050)
    assert np.mean(loud.events != events.events) < 0.001
    assert (loud.loudness == events.loudness + 85).all()


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros(5, np.int16), "32768"),
        (np.array([0, np.nan], np.float32), "not numbers"),
        (np.array([0, np.inf], np.float32), "not numbers"),
        (
            np.full(600, -8388608, np.float32),
            "holds values to 8.4e\\+06, where full scale is 1; divide it first",
        ),
        (np.zeros((2, 2, 2), np.float32), "must be float"),
        (np.zeros((2, 1000), np.float32), "transpose"),
    ],
)
def test_bad_audio_is_refused(codec, audio, words):
    with pytest.raises(UserError, match=words):
        codec.encode(audio, 22050)


@pytest.mark.parametrize("rate", [0, -5, 22050.5])
def test_bad_rates_are_refused(codec, rate):
    with pytest.raises(UserError, match="sample rate"):
        codec.encode(np.zeros(5, np.float32), rate)


def test_one_array_is_no_blocks(codec):
    for blocks in (np.zeros((9, 2), np.float32), np.zeros(9, np.float32), torch.zeros(9, 2)):
        with pytest.raises(UserError, match="encode takes one array"):
            codec.encode_blocks(blocks, 22050)


def test_weights_of_no_known_kind_are_not_saved(codec, tmp_path):
    with pytest.raises(UserError, match="weights must be one of float32, float16, int8, not 'int4'"):
        codec.save(tmp_path / "a", weights="int4")
    assert not list(tmp_path.iterdir())


def test_a_device_that_gives_nothing_back_is_refused(checkpoint):
    with pytest.raises(UserError, match="device meta: cannot be used here"):
        Codec.load(checkpoint, "meta")


def test_events_of_another_model_are_refused(codec):
    other = settled(small_model(), seed=1)
    assert other.fingerprint != codec.fingerprint
    with pytest.raises(UserError, match=f"{codec.fingerprint}.*{other.fingerprint}"):
        other.decode(codec.encode(tones(1.0), 22050))


def test_a_loaded_checkpoint_is_the_saved_model(codec, checkpoint):
    loaded = Codec.load(checkpoint)
    assert loaded.fingerprint == codec.fingerprint
    assert loaded.settings == codec.settings
    assert loaded.encode(tones(2.0), 22050) == codec.encode(tones(2.0), 22050)
    with pytest.raises(UserError, match="--force"):
        codec.save(checkpoint)


def test_half_precision_checkpoints_are_stable(codec, tmp_path):
    codec.save(tmp_path / "half", weights="float16")
    once = Codec.load(tmp_path / "half")
    once.save(tmp_path / "again", weights="float16")
    assert Codec.load(tmp_path / "again").fingerprint == once.fingerprint
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "again")]
    codec.save(tmp_path / "full")
    assert sizes[0] == sizes[1] < 0.65 * (tmp_path / "full" / "model.safetensors").stat().st_size


def test_checkpoints_of_8_bits_are_within_half_a_step(codec, tmp_path):
    codec.save(tmp_path / "small", weights="int8")
    loaded = Codec.load(tmp_path / "small")
    for name, value in codec.state_dict().items():
        rounded, flat = loaded.state_dict()[name], value.reshape(len(value), -1) if value.ndim > 1 else None
        if flat is None:
            torch.testing.assert_close(rounded, value, rtol=0, atol=0)
        else:
            off = (rounded.reshape(flat.shape) - flat).abs().amax(1)
            assert (off <= flat.abs().amax(1) / 127 * 0.501).all(), name
    assert json.loads((tmp_path / "small" / "config.json").read_text())["fingerprint"] == loaded.fingerprint
    codec.save(tmp_path / "full")
    size = (tmp_path / "small" / "model.safetensors").stat().st_size
    assert size < 0.4 * (tmp_path / "full" / "model.safetensors").stat().st_size


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_rounded_rvq_is_whole_without_its_running_sums(tmp_path, weights):
    pytest.importorskip("vector_quantize_pytorch")
    codec = settled(small_model(bottleneck=config.RVQ(codebooks=10, codes=256)))
    codec.save(tmp_path / "small", weights=weights)
    loaded = Codec.load(tmp_path / "small")
    audio = tones(3.0)
    events = loaded.encode(audio, 22050)
    assert np.mean(events.events != codec.encode(audio, 22050).events) < 0.1
    assert loaded.decode(events).shape == audio.shape
    assert set(loaded.state_dict()) == set(codec.state_dict())


def test_weights_and_settings_of_different_models_are_noticed(codec, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "a")
    other = settled(small_model(), seed=1)
    other.save(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "model.safetensors", tmp_path / "a" / "model.safetensors")
    with pytest.raises(UserError, match=f"{other.fingerprint}.*{codec.fingerprint}"):
        Codec.load(tmp_path / "a")


@pytest.mark.parametrize("damage", ["cut", "text", "config", "unknown key", "other sizes", "gone"])
def test_damaged_checkpoints_are_named(checkpoint, tmp_path, damage):
    weights, settings = (checkpoint / name for name in ("model.safetensors", "config.json"))
    data, text = weights.read_bytes(), json.loads(settings.read_text())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "text":
        data = b"these are no weights"
    elif damage == "unknown key":
        text["model"]["colour"] = 1
    elif damage == "other sizes":
        text["model"]["units"] = 40
    (tmp_path / "config.json").write_text("{" if damage == "config" else json.dumps(text))
    if damage != "gone":
        (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"config\.json|model\.safetensors"):
        Codec.load(tmp_path)


@pytest.mark.parametrize("name", ["before.weight.scale", "codes._codebook.embed"])
def test_weights_of_which_a_part_is_missing_are_named(checkpoint, tmp_path, name):
    shutil.copytree(checkpoint, tmp_path / "a")
    path = tmp_path / "a" / "model.safetensors"
    save_file({"before.weight": torch.zeros(2, 2), name: torch.ones(())}, path)
    with pytest.raises(UserError, match=r"model\.safetensors: is missing or damaged"):
        Codec.load(tmp_path / "a")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "context.safetensors"])
def test_no_part_of_a_checkpoint_is_saved_where_another_part_is(checkpoint, tmp_path, name):
    codec = Codec.load(checkpoint)
    codec.entropy_model = entropy_model(codec.settings.units)
    (tmp_path / name).write_text("of another one")
    with pytest.raises(UserError, match=f"{name}: exists already"):
        codec.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_model_is_named():
    with pytest.raises(UserError, match="no-such-model"):
        Codec.load("no-such-model")


def test_widths_must_agree():
    with pytest.raises(UserError, match="width"):
        Codec(small_model(decoder=config.Spectral(width=8)))


def test_one_batch_is_learned():
    torch.manual_seed(0)
    codec = Codec(small_model(bottleneck=config.Spiking(groups=8)))
    audio = torch.from_numpy(tones(1.0)[None]) * 20
    optimizer = torch.optim.AdamW(codec.parameters(), 1e-2)
    for _ in range(150):
        output = codec(audio)
        loss = (output.audio - audio).square().mean() + output.residual
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert si_snr(output.audio[0].detach().numpy(), audio[0].numpy()) > 3
