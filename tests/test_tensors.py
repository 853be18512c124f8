"""Batches of tensors: the events of `encode` and the sound of `decode`, with gradients."""

import numpy as np
import pytest
import torch
from conftest import settled, small_model, tones

from snn_codec import settings
from snn_codec.codec import Codec
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix

SAMPLES = 2 * 32 * 512 + 700


@pytest.fixture(scope="module")
def small():
    """Chunks of 32 steps, of which a margin of 8 is all that the networks see."""
    return settled(small_model(chunk_steps=32))


@pytest.fixture(scope="module")
def batch():
    loud = [tones(4.0, seed=seed)[:SAMPLES] * gain for seed, gain in ((0, 1.0), (1, 0.05), (2, 0.3))]
    return torch.from_numpy(np.stack(loud))


def test_a_batch_has_the_events_of_its_recordings(small, batch):
    with torch.no_grad():
        spikes, loudness = small.spikes(batch)
        stereo = small.spikes(torch.stack([1.5 * batch, 0.5 * batch], 1))
    assert spikes.shape == (3, 80, 66) and loudness.shape == (3, 3) and loudness.dtype == torch.uint8
    for audio, cells, codes in zip(batch.numpy(), spikes.numpy(), loudness.numpy(), strict=True):
        events = small.encode(audio, 22050)
        np.testing.assert_array_equal(codes, events.loudness)
        assert (cells != events.events).mean() < 1e-3  # a batch is summed in another order
    assert torch.equal(stereo.loudness, loudness) and (stereo.spikes != spikes).float().mean() < 1e-3


def test_a_batch_has_the_sound_of_its_events(small, batch):
    with torch.no_grad():
        spikes, loudness = small.spikes(batch)
        sound = small.audio(spikes, loudness, samples=SAMPLES)
        assert small.audio(spikes, loudness).shape == (3, 1, 66 * 512)
    assert sound.shape == (3, 1, SAMPLES)
    for heard, cells, codes in zip(sound[:, 0].numpy(), spikes.numpy(), loudness.numpy(), strict=True):
        events = EventMatrix(
            cells > 0.5, 22050, 512, SAMPLES, fingerprint=small.fingerprint, loudness=codes, chunk_steps=32
        )
        expected = small.decode(events)
        np.testing.assert_allclose(heard, expected, atol=1e-5 * np.abs(expected).max())


def test_gradients_reach_the_sound_and_every_network(small, batch):
    audio = batch.clone().requires_grad_()
    spikes, loudness = small.spikes(audio)
    error = (small.audio(spikes, loudness, samples=SAMPLES)[:, 0] - batch).square().mean()
    names, weights = zip(*small.named_parameters(), strict=True)
    found = torch.autograd.grad(error, [audio, *weights], allow_unused=True)
    assert found[0].isfinite().all() and found[0].any()
    for part in ("encoder", "bottleneck", "decoder"):
        assert any(value is not None and value.any() for name, value in zip(names, found[1:], strict=True)
                   if name.startswith(part))  # fmt: skip


def test_levels_are_one_for_all_or_one_each(prompted):
    codec = Codec.load(prompted)
    torch.nn.init.normal_(codec.after.prompt)
    audio = torch.from_numpy(tones(1.0)).expand(3, -1)
    with torch.no_grad():
        several, loudness = codec.spikes(audio, level=torch.tensor([0.0, 4.5, 15.0]))
        quarter = codec.spikes(audio[:1]).spikes
        assert torch.equal(codec.spikes(audio[:1], level=4).spikes, quarter)
        counts = several.sum((1, 2)).tolist()
        assert counts == sorted(counts, reverse=True) and len(set(counts)) == 3
        one = codec.audio(several[1:2], loudness[1:2], level=4.5)
        assert torch.equal(one, codec.audio(several[1:2], loudness[1:2], level=torch.tensor([4.5])))
        assert not torch.equal(one, codec.audio(several[1:2], loudness[1:2], level=15))
    with pytest.raises(UserError, match="level 16.0 is not one of this model's, 0 to 15"):
        codec.spikes(audio, level=16.0)


def test_what_is_no_batch_is_refused(small, batch):
    for wrong in (
        batch[0],
        batch[:, :0],
        batch.int(),
        batch.int()[:, None],
        batch[:, None][:, :0],
        batch[None, None],
    ):
        with pytest.raises(UserError, match=r"audio must be float \[batch, channel, samples\]"):
            small.spikes(wrong)
    with pytest.raises(UserError, match="no levels"):
        small.spikes(batch, level=3)
    spikes, loudness = torch.zeros(2, 80, 40), torch.zeros(2, 2, dtype=torch.uint8)
    assert not small.audio(spikes, loudness).isnan().any()
    for wrong in ((spikes[:, :79], loudness), (spikes[..., :0], loudness), (spikes, loudness[:, :1]),
                  (spikes[0], loudness[0])):  # fmt: skip
        with pytest.raises(UserError, match=r"must be \[batch, 80, steps\] with a loudness for each chunk"):
            small.audio(*wrong)
    steps = small.settings.hop * 40
    for samples in (0, -1, steps + 1):
        with pytest.raises(
            UserError, match=f"samples must be 1 to {steps}, those of the steps, not {samples}"
        ):
            small.audio(spikes, loudness, samples=samples)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_audio_that_is_no_number_is_refused(small, batch, value):
    wrong = batch.clone()
    wrong[1, 700] = value
    with pytest.raises(UserError, match="the audio holds values that are not numbers"):
        small.spikes(wrong)


@pytest.mark.parametrize("level", [torch.ones(2), torch.ones(3, 1), torch.ones(0), [1.0, 2.0]])
def test_levels_of_another_number_are_refused(prompted, batch, level):
    with pytest.raises(UserError, match="level must be one, or one for each of 3 recordings, not"):
        Codec.load(prompted).spikes(batch, level=level)


def test_the_name_that_hubs_have(checkpoint):
    assert Codec.from_pretrained(checkpoint).fingerprint == Codec.load(checkpoint).fingerprint


@pytest.mark.parametrize("surrogate", ["norse.superspike", "slayer", "no_such_module_here:gauss"])
def test_a_model_is_used_without_the_package_of_its_surrogate(surrogate, monkeypatch, tmp_path):
    from snn_codec.models import surrogates

    monkeypatch.setattr(surrogates, "find_spec", lambda package: None)
    trained = settled(small_model())
    model = small_model(bottleneck=settings.Spiking(groups=4, surrogate=surrogate, slope=1.0))
    codec = Codec(model)
    codec.load_state_dict(trained.state_dict())
    codec.save(tmp_path / "model")
    loaded, sound = Codec.load(tmp_path / "model"), tones(1.0)
    events = loaded.encode(sound, 22050)
    np.testing.assert_array_equal(events.events, trained.encode(sound, 22050).events)
    assert loaded.decode(events).any()
    assert loaded.encode(sound, 22050, search=2).n_events > 0  # a search has a surrogate of its own
    with pytest.raises(UserError, match=surrogate.partition(":")[0]):
        loaded.spikes(torch.from_numpy(sound)[None].requires_grad_())
