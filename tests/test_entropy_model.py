import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import bursty, entropy_model, raster
from safetensors.numpy import load_file, save_file

from snn_codec.cells import listed
from snn_codec.errors import UserError
from snn_codec.storage.entropy_model import FILE_NAME, EntropyModel
from snn_codec.storage.entropy_model.network import MAX_LOGIT, UNIT, probability


@settings(max_examples=40)
@given(
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(1, 5),
    st.lists(st.integers(1, 9), max_size=3),
    st.integers(0, 99),
)
def test_what_is_decoded_is_what_was_encoded(units, steps, history, layers, seed):
    model = entropy_model(units, history, tuple(layers), seed)
    for density in (0.0, 0.1, 0.5, 1.0):
        events = raster(units, steps, density, seed)
        data = model.encode(events)
        np.testing.assert_array_equal(model.decode(data, steps), events)
        assert 8 * len(data) - model.bits(events) < 16


def test_logits_are_the_formula_cell_by_cell():
    """The vectorised network against the definition, in Python's own integers."""
    model, events = entropy_model(4, 3, (5, 3)), raster(4, 30, 0.4)
    ours = model._probabilities(events)
    for step in range(30):
        recent = []
        for back in range(1, 4):
            past = events[:, step - back] if step >= back else None
            recent += [0] * 4 if past is None else [UNIT if fired else -UNIT for fired in past]
        features = [recent]
        for weight, bias in model.layers:
            drive = [
                (sum(int(w) * x for w, x in zip(row, features[-1], strict=True)) + int(b) * UNIT) // UNIT
                for row, b in zip(weight, bias, strict=True)
            ]
            features.append([min(max(value, 0), 2**15 - 1) for value in drive])
        flat = [value for part in features for value in part]
        for unit in range(4):
            total = (
                sum(int(w) * x for w, x in zip(model.output[0][unit], flat, strict=True))
                + int(model.output[1][unit]) * UNIT
            )
            logit = min(max(total // UNIT, -MAX_LOGIT), MAX_LOGIT)
            logit += sum(int(model.same_step[unit, other]) for other in range(unit) if events[other, step])
            assert ours[step, unit] == probability(np.array(logit))


def test_probabilities_are_a_sigmoid_that_every_exp_gives():
    logits = np.arange(-MAX_LOGIT, MAX_LOGIT + 1)
    exact = 65536 / (1 + np.exp(-logits / UNIT))
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-5
    table = probability(logits)
    assert table.min() == 1 and table.max() == 65535
    assert np.abs(table - np.clip(exact, 1, 65535)).max() <= 0.5
    assert probability(np.array([-(10**6), 10**6])).tolist() == [1, 65535]


def test_a_saved_model_is_the_same_model(tmp_path):
    model, events = entropy_model(10), bursty(10, 50)
    model.save(tmp_path / FILE_NAME)
    again = EntropyModel.load(tmp_path / FILE_NAME)
    assert again.fingerprint == model.fingerprint != entropy_model(10, seed=1).fingerprint
    assert re.fullmatch("[0-9a-f]{8}", model.fingerprint)
    assert again.encode(events) == model.encode(events)
    with pytest.raises(UserError, match="--force"):
        model.save(tmp_path / FILE_NAME)


def test_a_list_of_events_is_coded_as_their_matrix():
    model, events = entropy_model(10), bursty(10, 50)
    assert model.encode_sparse(listed(*np.nonzero(events.T), 10, 50)) == model.encode(events)


def test_damaged_and_foreign_models_are_refused(tmp_path):
    path = tmp_path / FILE_NAME
    with pytest.raises(UserError, match="no such file"):
        EntropyModel.load(path)
    entropy_model(6).save(path)
    whole, tensors = path.read_bytes(), load_file(path)
    metadata = {"format": "snn_codec.context", "version": "1", "history": "2"}
    for data in (b"", whole[:50], whole[:-1], b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(UserError, match="damaged"):
            EntropyModel.load(path)
    for place in (len(whole) - 100, len(whole) - 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="does not match its fingerprint"):
            EntropyModel.load(path)
    for changes in (
        {"version": "2"},
        {"history": "x"},
        {"history": "0"},
        {"history": json.dumps([2])},
        {"history": "3"},
    ):
        save_file(tensors, path, metadata | changes)
        with pytest.raises(UserError):
            EntropyModel.load(path)
    for name in tensors:
        save_file({key: value for key, value in tensors.items() if key != name}, path, metadata)
        with pytest.raises(UserError):
            EntropyModel.load(path)
        save_file(tensors | {name: tensors[name].astype(np.float32)}, path, metadata)
        with pytest.raises(UserError):
            EntropyModel.load(path)
    save_file(tensors | {"same_step": np.ones((6, 6), np.int16)}, path, metadata)
    with pytest.raises(UserError, match="below the diagonal"):
        EntropyModel.load(path)


def test_a_folder_gives_the_model_of_its_checkpoint_only(tmp_path):
    assert EntropyModel.of(tmp_path, "0123") is None
    replace(entropy_model(6), checkpoint="0123").save(tmp_path / FILE_NAME)
    assert EntropyModel.of(tmp_path, "0123").fingerprint == entropy_model(6).fingerprint
    assert EntropyModel.of(tmp_path, "4567") is None


def test_events_of_another_size_are_refused():
    with pytest.raises(ValueError, match="10 units, not 11"):
        entropy_model(10).encode(raster(11, 5, 0.5))
