"""The bottleneck, spike sources and sinks in a Lava network that is not ours; runs in .venv-lava."""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import settled, small_model, tones
from test_quantise import features, random_layer

from snn_codec import settings as config
from snn_codec.errors import UserError
from snn_codec.events import EventMatrix
from snn_codec.hardware import exchange, netx
from snn_codec.hardware.features import calibrated_peak, encode_with_features
from snn_codec.hardware.fold import fold
from snn_codec.hardware.lava import EventSink, bottleneck_process, event_source, feature_source
from snn_codec.hardware.quantise import quantise
from snn_codec.storage import h5

STEPS = 60


@pytest.fixture(autouse=True)
def no_start_method():
    """Lava sets one when it is imported, and fails where another test has."""
    multiprocessing.set_start_method(None, force=True)


def run(process, steps, tag):
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    try:
        process.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag=tag))
    finally:
        process.stop()


def played(x):
    """A source of Lava's own."""
    from lava.proc.io.source import RingBuffer

    return RingBuffer(data=np.pad(x, ((0, 0), (0, 20))))


class Probe:
    """A sink of Lava's own, read while the network still runs."""

    def __init__(self, port, steps):
        from lava.proc.io.sink import RingBuffer

        self.sink = RingBuffer(shape=port.shape, buffer=steps)
        port.connect(self.sink.a_in)


def run_with_probes(process, steps, tag, *probes):
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg

    process.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag=tag))
    try:
        return [probe.sink.data.get() for probe in probes]
    finally:
        process.stop()


@pytest.mark.lava
@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_second_layer_and_a_probe_get_the_spikes_of_the_reference(arithmetic, groups):
    """Two other neurons count spikes of the first and of the last unit, leak nothing and fire at every third."""
    from lava.proc.dense.process import Dense
    from lava.proc.lif.process import LIF

    layer, x = random_layer(groups=groups), features(steps=STEPS)
    if arithmetic == "fixed":
        layer = quantise(layer, 4.0)
        x = layer.graded(x)
    process = bottleneck_process(layer, arithmetic)
    source, late = played(x), process.latency
    weight = np.zeros((2, 40), int)
    weight[[0, 1], [0, 39]] = 1
    second, counters = Dense(weights=weight), LIF(shape=(2,), du=1 if arithmetic == "float" else 4095, vth=2)
    source.s_out.connect(process.s_in)
    process.s_out.connect(second.s_in)
    second.a_out.connect(counters.a_in)
    steps = STEPS + late + 1
    probes = Probe(process.s_out, steps), Probe(counters.s_out, steps)
    found, counted = run_with_probes(process, steps, process.tag, *probes)
    expected = layer.spikes(x)
    assert 0.1 < expected.mean() < 0.9
    assert not found[:, :late].any()
    np.testing.assert_array_equal(found[:, late : late + STEPS] > 0, expected)
    np.testing.assert_array_equal(counted[:, late + 1 :].sum(1), expected[[0, 39]].sum(1) // 3)


@pytest.mark.lava
def test_a_current_of_ones_own_silences_a_unit():
    from lava.proc.io.source import RingBuffer

    layer = quantise(random_layer(), 4.0)
    x = layer.graded(features(steps=20))
    process, source = bottleneck_process(layer), played(x)
    current = np.zeros((40, 40), int)
    current[7] = -70000  # with what else arrives it must stay above -2^17
    other = RingBuffer(data=current)
    source.s_out.connect(process.s_in)
    other.s_out.connect(process.a_in)
    (found,) = run_with_probes(process, 21, process.tag, Probe(process.s_out, 21))
    expected = layer.spikes(x)
    assert expected[7].any()
    expected[7] = False
    np.testing.assert_array_equal(found[:, 1:] > 0, expected)


@pytest.mark.lava
def test_from_exported_files_to_an_event_file_and_back(tmp_path):
    """netx export, its features, a sink that writes events; then a source that replays the events."""
    codec = settled(small_model(bottleneck=config.Spiking()))
    events, (x,) = encode_with_features(codec, [tones(2.0)], 22050)
    layer = quantise(fold(codec.bottleneck), calibrated_peak(codec), whole_bias=True)
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint=codec.fingerprint)
    exchange.write_graded(tmp_path / "a.npz", layer.graded(x), events)

    source, process = feature_source(tmp_path / "a.npz"), bottleneck_process(tmp_path / "a.net")
    sink = EventSink(like=tmp_path / "a.npz", late=process.latency)
    source.s_out.connect(process.s_in)
    process.s_out.connect(sink.s_in)
    run(process, source.steps + process.latency, process.tag)
    sink.save(tmp_path / "b.h5")
    found = h5.read(tmp_path / "b.h5")
    np.testing.assert_array_equal(found.events, layer.spikes(layer.graded(x)))
    assert found == events.replace(events=found.events)
    assert codec.decode(found).shape == (events.n_samples,)

    replay = event_source(tmp_path / "b.h5")
    again = EventSink(like=found)
    replay.s_out.connect(again.s_in)
    run(replay, replay.steps, "fixed_pt")
    assert again.events() == found


@pytest.mark.lava
@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
def test_features_of_the_other_arithmetic_are_refused(tmp_path, arithmetic):
    """Lava would cut off what is behind the point, or take integers for features."""
    layer, x = random_layer(), features(steps=5)
    if arithmetic == "fixed":
        layer, reason = quantise(layer, 4.0), "holds features, but the bottleneck is fixed_pt.*export netx"
        np.savez(tmp_path / "a.npz", data=x.astype(np.float32))
    else:
        reason = "holds graded integers, but the bottleneck is floating_pt.*export nir"
        np.savez(tmp_path / "a.npz", data=np.ones(x.shape, np.int32))
    source, process = feature_source(tmp_path / "a.npz"), bottleneck_process(layer, arithmetic)
    source.s_out.connect(process.s_in)
    with pytest.raises(ValueError, match=f"a.npz: {reason}"):
        run(process, 2, process.tag)


@pytest.mark.lava
def test_a_simulation_that_was_too_short_is_said():
    events = EventMatrix(np.ones((5, 3), bool), 22050, 512, 1500)
    sink = EventSink(like=events, late=2)
    with pytest.raises(UserError, match="made 0 of 3 steps; run 5"):
        sink.events()


@pytest.mark.lava
def test_what_does_not_fit_together_is_refused():
    layer = random_layer()
    with pytest.raises(UserError, match="arithmetic fixed"):
        bottleneck_process(layer, "fixed")
    with pytest.raises(UserError, match="use one of fixed, float"):
        bottleneck_process(layer, "double")
    with pytest.raises(UserError, match=r"nothere.net: cannot be read \(No such file"):
        bottleneck_process("nothere.net")


@pytest.mark.lava
def test_settings_that_would_be_ignored_are_refused(tmp_path):
    layer = quantise(random_layer(), 4.0, whole_bias=True)
    netx.write(tmp_path / "a.net", layer, step_rate=43.0, fingerprint="f" * 8)
    for source, arithmetic in ((layer, "fixed"), (tmp_path / "a.net", "fixed"), ("free-plain", "float")):
        with pytest.raises(UserError, match="is not quantised here, so that weight_bits would be ignored"):
            bottleneck_process(source, arithmetic, weight_bits=15)


def test_without_lava_it_says_what_to_do():
    try:
        import lava  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="make lava-venv"):
            bottleneck_process(random_layer(), "float")
    else:
        assert Path(sys.executable).exists()
        assert bottleneck_process(random_layer(), "float").tag == "floating_pt"
