import io

import numpy as np
import pytest
import soundfile
import torch
from conftest import tones

from snn_codec import audio
from snn_codec.errors import UserError


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_reading_any_depth_and_channels(tmp_path, subtype, channels):
    sound = tones(3.1)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.repeat(sound[:, None], channels, 1), 22050, subtype=subtype)
    assert audio.info(path) == (len(sound), 22050, channels)
    read = np.concatenate(list(audio.read_blocks(path)))
    np.testing.assert_allclose(read, sound, atol=1 / 100 if subtype == "PCM_U8" else 1e-4)
    part, rate = audio.read(path, 1000, 1300)
    np.testing.assert_array_equal(part, read[1000:1300])
    np.testing.assert_array_equal(audio.read(path)[0], read)
    assert rate == 22050


@pytest.mark.parametrize(
    ("source", "target"), [(44100, 22050), (48000, 22050), (192000, 22050), (8000, 22050)]
)
def test_resampling_keeps_time_and_tone(source, target):
    time = np.arange(3 * source) / source
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    out = np.concatenate(list(audio.resampled([tone], source, target)))
    assert len(out) == 3 * target
    expected = np.sin(2 * np.pi * 440 * np.arange(3 * target) / target)
    assert np.abs(out - expected)[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("n", [1, 2, 3, 1000, audio.BLOCK, audio.BLOCK + 1])
@pytest.mark.parametrize("source", [11025, 22050, 44100, 48000])
def test_resampled_length_is_rounded_up(n, source):
    out = list(audio.resampled([np.ones(n, np.float32)], source, 22050))
    assert sum(map(len, out)) == -(-n * 22050 // source)


def test_a_rate_of_hardly_any_hertz_costs_no_memory():
    """As a damaged header may have it."""
    first = next(audio.resampled([np.ones(200_000, np.float32)], 50, 22050))
    assert len(first) < 2_000_000


def test_blocks_are_cut_anew():
    pieces = [np.full(50_000, number, np.float32) for number in range(4)]
    found = list(audio.resampled(pieces, 22050, 22050))
    assert [len(block) for block in found] == [audio.BLOCK] * 3 + [200_000 - 3 * audio.BLOCK]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(pieces))


def test_channels_and_samples_that_changed_places_are_noticed():
    with pytest.raises(UserError, match="more channels than samples"):
        list(audio.resampled([np.zeros((64, 65), np.float32)], 22050, 22050))
    with pytest.raises(UserError, match="more channels than samples"):
        list(audio.resampled([np.zeros((1, 65), np.float32)], 22050, 22050))
    for shape in ((65, 65), (63, 64), (0, 65)):
        assert sum(map(len, audio.resampled([np.zeros(shape), np.zeros(1)], 22050, 22050))) == shape[0] + 1


def test_writing_clips_and_counts(tmp_path):
    path = tmp_path / "a.wav"
    assert audio.write(path, [np.array([0.5, 1.5], np.float32), np.array([-2.0], np.float32)], 22050) == 2
    np.testing.assert_allclose(soundfile.read(path)[0], [0.5, 1, -1], atol=1e-4)
    full = np.array([1.0, -1.0], np.float32)
    assert audio.write(path, [full], 22050, force=True) == 0
    assert audio.write_stream(io.BytesIO(), [full], 22050, 2) == 0


def test_what_is_beyond_full_scale_is_clipped_in_formats_without_a_full_scale(tmp_path):
    tone = np.sin(np.arange(22050) / 20)
    for name, gain in (("clipped.ogg", 3.0), ("loud.ogg", 3.0), ("quiet.ogg", -3.0)):
        audio.write(
            tmp_path / name, [gain * tone if name != "clipped.ogg" else np.clip(gain * tone, -1, 1)], 22050
        )
    clipped, loud, quiet = (
        audio.read(tmp_path / name)[0] for name in ("clipped.ogg", "loud.ogg", "quiet.ogg")
    )
    np.testing.assert_array_equal(loud, clipped)
    np.testing.assert_allclose(quiet, -clipped, atol=0.02)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (np.zeros(9, np.int16), r"not int16 \(9,\) \(divide 16-bit integers by 32768\)"),
        (np.array("a.wav"), r"\(snn_codec.read_audio reads a file\)"),
        (np.zeros((2, 3, 4)), r"not float64 \(2, 3, 4\)$"),
        (np.zeros((9, 0)), r"not float64 \(9, 0\)$"),
    ],
)
def test_blocks_that_are_no_audio_are_refused_with_a_hint(block, words):
    with pytest.raises(UserError, match=f"audio must be float .samples. or .samples, channels., .*{words}"):
        list(audio.resampled([block], 22050, 22050))


@pytest.mark.parametrize("rate", [22050, 48000, 192000])
@pytest.mark.parametrize("suffix", audio.FORMATS)
def test_every_format_that_is_written_has_the_same_sound_and_rate_or_is_refused(tmp_path, suffix, rate):
    sound, path = tones(1.0), tmp_path / f"a{suffix}"
    if rate > 48000 and suffix in (".mp3", ".mpc2k", ".svx"):
        with pytest.raises(UserError, match=f"a{suffix}: .* 192000 Hz"):
            audio.write(path, [sound], rate)
        assert not list(tmp_path.iterdir())
        return
    audio.write(path, [sound], rate)
    found, found_rate = audio.read(path)
    assert (len(found), found_rate) == (len(sound), rate)
    np.testing.assert_allclose(found, np.clip(sound, -1, 1), atol=0.1 if suffix in (".ogg", ".mp3") else 1e-4)


@pytest.mark.parametrize(
    "suffix", ["wve", "htk", "xi", "sd2", "sds", "mat4", "mat5", "raw", "opus", "txt", ""]
)
def test_formats_that_change_the_sound_are_not_written(tmp_path, suffix):
    with pytest.raises(
        UserError, match=r"its suffix stands for no audio format that is written; use one of \.wav"
    ):
        audio.write(tmp_path / f"a.{suffix}", [np.zeros(3)], 22050)
    assert not list(tmp_path.iterdir())


def test_an_ogg_of_a_rate_that_ends_the_process_is_refused(tmp_path):
    with pytest.raises(UserError, match="a.ogg: OGG has no rate of 1000000 Hz"):
        audio.write(tmp_path / "a.ogg", [np.zeros(3)], 10**6)


def test_an_ogg_of_minutes_in_one_array_is_written(tmp_path):
    audio.write(tmp_path / "a.ogg", [np.zeros(4_000_000, np.float32)], 22050)
    assert audio.info(tmp_path / "a.ogg").samples == 4_000_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_not_written(tmp_path, value):
    with pytest.raises(UserError, match="a.wav: cannot be written: samples are not numbers"):
        audio.write(tmp_path / "a.wav", [np.array([0.5, value])], 22050)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="samples are not numbers"):
        audio.write_stream(io.BytesIO(), [np.array([0.5, value])], 22050, 2)


@pytest.mark.parametrize(
    "samples",
    [
        [0.5, -0.25],
        torch.tensor([0.5, -0.25]),
        *(np.array([0.5, -0.25], kind) for kind in (np.float16, np.longdouble, ">f4", ">f8")),
    ],
)
def test_samples_may_be_anything_like_an_array_of_floats(tmp_path, samples):
    audio.write(tmp_path / "a.wav", [samples], 22050)
    assert soundfile.read(tmp_path / "a.wav")[0].tolist() == [0.5, -0.25]
    assert np.concatenate(list(audio.resampled([samples], 1, 1))).tolist() == [0.5, -0.25]


@pytest.mark.parametrize(
    "samples", [[1, 2], [[0.5], [0.5, 0.5]], "a.wav", None, torch.ones(2, requires_grad=True)]
)
def test_samples_that_are_no_floats_are_not_written(tmp_path, samples):
    with pytest.raises(UserError, match="samples must be float|audio must be an array"):
        audio.write(tmp_path / "a.wav", [samples], 22050)
    with pytest.raises(UserError, match="audio must be"):
        list(audio.resampled([samples], 22050, 22050))


@pytest.mark.parametrize("kind", [float, np.float64, np.int32, np.uint16, np.array, torch.tensor])
def test_a_sample_rate_may_be_a_whole_number_of_any_type(tmp_path, kind):
    blocks = [np.zeros(audio.BLOCK, np.float32)] * 2
    found = np.concatenate(list(audio.resampled(blocks, kind(44100), 22050)))
    assert len(found) == audio.BLOCK
    audio.write(tmp_path / "a.wav", blocks[:1], kind(44100))
    assert audio.info(tmp_path / "a.wav").sample_rate == 44100


@pytest.mark.parametrize("rate", [None, np.nan, np.inf, 44100.5, "44100", True, 0, -1, 10**10, [44100]])
def test_a_sample_rate_that_is_no_whole_number_is_refused_before_anything_is_done(tmp_path, rate):
    with pytest.raises(UserError, match="the sample rate must be a positive integer in Hz, not"):
        next(iter(audio.resampled([np.zeros(9)], rate, 22050)))
    with pytest.raises(UserError, match="a.wav: the sample rate must be a positive integer in Hz, not"):
        audio.write(tmp_path / "a.wav", [np.zeros(9)], rate)
    assert not list(tmp_path.iterdir())


def test_a_stream_that_is_closed_says_so_and_nothing_else():
    class Closed(io.RawIOBase):
        written = 0

        def write(self, data):
            self.written += len(data)
            if self.written > 100:
                raise BrokenPipeError
            return len(data)

        def seek(self, *_):
            raise OSError("Illegal seek")

    with pytest.raises(BrokenPipeError):
        audio.write_stream(Closed(), [np.zeros(999)], 22050, 999)


def test_any_positive_rate_can_be_written(tmp_path):
    audio.write(tmp_path / "a.wav", [np.zeros(3)], 1)
    assert audio.info(tmp_path / "a.wav").sample_rate == 1
    assert len(np.concatenate(list(audio.resampled([np.ones(3)], 1, 1)))) == 3
    with pytest.raises(UserError, match="must be a positive integer"):
        audio.write(tmp_path / "b.wav", [np.zeros(3)], 0)


def test_nothing_is_overwritten_or_left_half_written(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        audio.write(path, [np.zeros(3)], 22050)

    def failing():
        yield np.zeros(100000)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        audio.write(path, failing(), 22050, force=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="suffix"):
        audio.write(tmp_path / "a.xyz", [np.zeros(3)], 22050)
    with pytest.raises(UserError, match="folder does not exist"):
        audio.write(tmp_path / "no" / "a.wav", [np.zeros(3)], 22050)


def test_a_new_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").touch()
    audio.write(tmp_path / "a.wav", [np.zeros(3)], 22050)
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"this is a text about music, and no music\n" * 50, "not audio"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not audio|damaged|no samples"),
        (None, "no such file"),
    ],
)
def test_what_is_not_audio_is_named(tmp_path, content, words):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.wav.*({words})"):
        list(audio.read_blocks(path))


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".wav", ".caf"])
def test_files_that_end_within_their_header_are_named(tmp_path, suffix):
    audio.write(tmp_path / f"whole{suffix}", [np.zeros(2000)], 22050)
    head, path = (tmp_path / f"whole{suffix}").read_bytes()[:48], tmp_path / f"cut{suffix}"
    for length in range(1, len(head)):
        path.write_bytes(head[:length])
        with pytest.raises(UserError, match=f"cut{suffix}: "):
            list(audio.read_blocks(path))


def test_a_length_beyond_any_file_is_named(tmp_path):
    audio.write(tmp_path / "whole.w64", [np.zeros(2000)], 22050)
    data = (tmp_path / "whole.w64").read_bytes()
    assert data[40:43] == b"fmt"
    (tmp_path / "bad.w64").write_bytes(data[:56] + b"\xff" * 8 + data[64:])
    with pytest.raises(UserError, match=r"bad\.w64: "):
        list(audio.read_blocks(tmp_path / "bad.w64"))


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_truncated_files_are_noticed(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    soundfile.write(whole, tones(5.0), 22050)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match=f"cut{suffix}"):
        list(audio.read_blocks(cut))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_noticed(tmp_path, value):
    sound = np.zeros(100_000, np.float32)
    sound[70_000] = value
    soundfile.write(tmp_path / "nan.wav", sound, 22050, subtype="FLOAT")
    with pytest.raises(UserError, match="nan.wav.*NaN"):
        list(audio.read_blocks(tmp_path / "nan.wav"))


def test_a_folder_is_no_audio(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        audio.info(tmp_path)


def test_a_part_is_read_as_far_as_the_file_goes_and_not_behind_it(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(1.0), 22050)
    assert len(audio.read(path, 22000, 30000)[0]) == 50
    assert len(audio.read(path, 22050)[0]) == len(audio.read(path, 5, 5)[0]) == 0
    with pytest.raises(UserError, match=r"a.wav: has 22050 samples, so none from 1000000000 on"):
        audio.read(path, 10**9)


def test_reading_a_whole_file_warns_and_refuses_as_reading_blocks_does(tmp_path):
    path, damaged = tmp_path / "a.wav", tmp_path / "a.ogg"
    soundfile.write(path, np.stack([tones(1.0), -tones(1.0)], 1), 22050)
    with pytest.warns(audio.ChannelsCancelWarning, match="a.wav"):
        audio.read(path)
    soundfile.write(damaged, tones(20.0), 22050)
    data = bytearray(damaged.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    damaged.write_bytes(data)
    with pytest.raises(UserError, match="a.ogg: is damaged"):
        audio.read(damaged)


@pytest.mark.parametrize("format", ["MP3", "OGG", "FLAC", "WAV"])
def test_the_sound_does_not_depend_on_how_it_is_cut_into_blocks(tmp_path, monkeypatch, format):
    soundfile.write(tmp_path / "a.audio", np.clip(tones(5.0), -1, 1), 22050, format=format)
    whole, _ = soundfile.read(tmp_path / "a.audio", dtype="float32")
    monkeypatch.setattr(audio, "BLOCK", 1000)
    np.testing.assert_allclose(audio.read(tmp_path / "a.audio")[0], whole, atol=1e-7)
