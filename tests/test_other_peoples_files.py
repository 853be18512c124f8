"""Audio files as other programs, cut downloads and pipes leave them: read right, or refused in one sentence.

Every input is made here. tests/test_other_peoples_cases.py sets these and the other cases against what was before.
"""

from __future__ import annotations

import io
import struct
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from conftest import tones

from snn_codec import audio, containers
from snn_codec.errors import UserError

RATE = 22050
SECONDS = 3
SAMPLES = SECONDS * RATE
SOUND = np.clip(tones(SECONDS), -1, 1)


def written(format: str, subtype: str | None = None, rate: int = RATE, sound: np.ndarray = SOUND) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=format, subtype=subtype)
    return file.getvalue()


def half(format: str, subtype: str | None = None, rate: int = RATE, times: int = 1) -> Callable[[], bytes]:
    def make() -> bytes:
        whole = written(format, subtype, rate, np.tile(SOUND, times))
        return whole[: len(whole) // 2]

    return make


def wav_announcing(size: int | None = None, more: int = 0, order: str = "<") -> Callable[[], bytes]:
    """A WAV whose chunk of sound says `size` bytes, or `more` than there are."""

    def make() -> bytes:
        data = bytearray(written("WAV"))
        if order == ">":
            data = bytearray(_big_endian(data))
        at = data.index(b"data") + 4
        (true,) = struct.unpack_from(f"{order}I", data, at)
        struct.pack_into(f"{order}I", data, at, true + more if size is None else size)
        return bytes(data)

    return make


def _big_endian(wav: bytes) -> bytes:
    """The same as RIFX."""
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", wav[:44])
    samples = np.frombuffer(wav[44:], "<i2").astype(">i2").tobytes()
    return struct.pack(">4sI4s4sIHHIIHH4sI", b"RIFX", *fields[1:]) + samples


def empty_with_comment() -> bytes:
    """A WAV without sound that has a comment behind its chunk of sound."""
    data = bytearray(written("WAV", sound=np.zeros(0)))
    data = data[: data.index(b"data") + 8] + b"LIST\x0c\0\0\0INFOICMT\0\0\0\0"
    struct.pack_into("<I", data, 4, len(data) - 8)
    return bytes(data)


def announcing(format: str, mark: bytes, form: str, size: int, ahead: int = 4) -> Callable[[], bytes]:
    """A file of another container that announces `size` bytes of sound, `ahead` of the last `mark`."""

    def make() -> bytes:
        data = bytearray(written(format))
        struct.pack_into(form, data, data.index(mark) + ahead, size)
        return bytes(data)

    return make


def flac_of_unknown_length(share: float = 1.0, tag: bytes = b"") -> Callable[[], bytes]:
    def make() -> bytes:
        data = bytearray(written("FLAC"))
        data[21] &= 0xF0
        data[22:26] = bytes(4)
        return bytes(data[: round(len(data) * share)]) + tag

    return make


def mp3_without_header(share: float = 1.0) -> Callable[[], bytes]:
    """As from encoders that write to a pipe: without the frame that says how many follow."""

    def make() -> bytes:
        data = written("MP3")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.mp3").write_bytes(data)
            first = next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] >= 0xE0)
            second = data.index(data[first : first + 2], first + 100)
        return data[second : round(len(data) * share)]

    return make


def vbr_mp3_without_header() -> bytes:
    """Loud noise after near-silence, at a constant quality: bytes are no measure of time."""
    av = pytest.importorskip("av")
    sound = np.concatenate([1e-3 * SOUND, 0.5 * np.random.default_rng(0).uniform(-1, 1, SAMPLES)])
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream(
            "libmp3lame", rate=RATE, options={"flags": "+qscale", "global_quality": "236"}
        )
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            (sound * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def tagged(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """With a picture's worth of ID3 in front, and an old tag behind."""
    return lambda: b"ID3\x04\0\0\0\0\x10\0" + bytes(2048) + make() + b"TAG".ljust(128, b" ")


class Case(NamedTuple):
    """One input.

    Attributes:
        number: Of the report it comes from.
        make: Its bytes.
        seconds: That are read of it; None if it is refused.
        refusal: What the refusal says; what `incomplete_ok` takes then is `taken` seconds.
        before: What version 0.1.0 did.
    """

    number: str
    make: Callable[[], bytes]
    seconds: float | None
    before: str
    refusal: str = ""
    taken: float = 0.0


CUT = "is cut off|is damaged after"
CASES = {
    "half of an MP3": Case("18.1", half("MP3"), None, "3 s, the end a repeated block", CUT, 1.5),
    "MP3 at a constant rate without a header": Case("18.1", mp3_without_header(), 3.08, "stale samples at its end"),
    "MP3 at a variable rate without a header": Case("18.1", vbr_mp3_without_header, 6.04, "half of it"),
    "an MP3 like that with tags": Case("18.1", tagged(mp3_without_header()), 3.08, "stale samples at its end"),
    "half an MP3 without a header": Case("18.1", mp3_without_header(0.5), 1.5, "stale samples at its end"),
    "two MP3 in one file": Case("18.1", lambda: 2 * written("MP3"), 6.05, "the first one"),
    "half of an AIFF": Case("18.2", half("AIFF"), None, "1.5 s, as if it were whole", CUT, 1.5),
    "half of an AU": Case("18.2", half("AU"), None, "1.5 s, as if it were whole", CUT, 1.5),
    "half of a W64": Case("18.2", half("W64"), None, "1.5 s, as if it were whole", CUT, 1.5),
    "half of an RF64": Case("18.2", half("RF64"), None, "1.5 s, as if it were whole", CUT, 1.5),
    "half of an Ogg": Case("18.2", half("OGG", times=6), None, "what is there, as if whole", CUT, 8.5),
    "half of an Opus": Case("18.2", half("OGG", "OPUS", 24000, 6), None, "what is there, as if whole", CUT, 7.5),
    "half of a CAF": Case("18.2", half("CAF"), None, "refused without a reason", CUT, 1.5),
    "half of a WAV": Case("18.2", half("WAV"), None, "refused", CUT, 1.5),
    "half of a FLAC": Case("18.2", half("FLAC"), None, "refused", CUT, 1.5),
    "WAV from sox's pipe": Case("18.8", wav_announcing(0x7FFFF000), 3, "refused"),
    "WAV that announces 2^31 - 1": Case("18.8", wav_announcing(0x7FFFFFFF), 3, "refused"),
    "WAV that announces 2^31": Case("18.8", wav_announcing(0x80000000), 3, "refused"),
    "WAV that announces 2^31 - 256": Case("18.8", wav_announcing(0x7FFFFF00), 3, "refused"),
    "WAV that announces 2^32 - 1": Case("18.8", wav_announcing(0xFFFFFFFF), 3, "read"),
    "WAV that announces 36 bytes too many": Case("18.8", wav_announcing(more=36), 3, "refused"),
    "WAV that announces 0": Case("18.8", wav_announcing(0), 3, "refused as empty"),
    "big-endian WAV that announces 0": Case("18.8", wav_announcing(0, order=">"), 3, "refused as empty"),
    "WAV that announces 1 MB too much": Case(
        "18.8", wav_announcing(more=1 << 20), None, "refused", "is cut off", 3
    ),
    "empty WAV with a comment": Case("18.8", empty_with_comment, None, "refused", "no samples"),
    "AIFF from sox's pipe": Case("18.8", announcing("AIFF", b"SSND", ">I", 0x7F000008), 3, "read"),
    "AU of unknown length": Case("18.8", announcing("AU", b".snd", ">I", 0xFFFFFFFF, 8), 3, "read"),
    "CAF of unknown length": Case("18.8", announcing("CAF", b"data", ">q", -1), 3, "read"),
    "W64 of unknown length": Case("18.8", announcing("W64", b"data\xf3", "<q", -1, 16), 3, "read"),
    "RF64 of unknown length": Case("18.8", announcing("RF64", b"ds64", "<q", -1, 16), 3, "read"),
    "FLAC of unknown length": Case("18.9", flac_of_unknown_length(), 3, "dies at a seek"),
    "FLAC like that with a tag": Case("18.9", flac_of_unknown_length(tag=b"TAG".ljust(128)), 3, "dies at a seek"),
    "half a FLAC of unknown length": Case("18.9", flac_of_unknown_length(0.5), None, "dies at a seek", CUT, 1.5),
}  # fmt: skip


def read(path: Path, **how) -> np.ndarray:
    return np.concatenate(list(audio.read_blocks(path, **how)))


@pytest.mark.parametrize("name", CASES)
def test_it_is_read_to_its_end_or_refused(tmp_path, name):
    case = CASES[name]
    path = tmp_path / "theirs.audio"
    path.write_bytes(case.make())
    rate = 24000 if "Opus" in name else RATE
    if case.seconds is None:
        with pytest.raises(UserError, match=f"theirs.audio.*({case.refusal})"):
            read(path)
        if not case.taken:
            return
        with pytest.warns(audio.IncompleteWarning, match="theirs.audio"):
            sound = read(path, incomplete_ok=True)
        assert len(sound) / rate == pytest.approx(case.taken, abs=0.5)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", audio.IncompleteWarning)
            sound = read(path)
        assert len(sound) / rate == pytest.approx(case.seconds, abs=0.06)
        assert audio.info(path).samples == len(sound)
    if "variable" in name or "Opus" in name:
        return
    lossy = "MP3" in name or "Ogg" in name  # these come later than what was encoded
    start = _offset(sound) if lossy else 0
    heard = sound[start : start + SAMPLES][:-2048] if len(sound) < SAMPLES else sound[start : start + SAMPLES]
    wanted = SOUND[: len(heard)]
    assert np.square(heard - wanted).mean() < (0.2 if lossy else 1e-6) * np.square(wanted).mean()


def _offset(sound: np.ndarray) -> int:
    """How much later a decoded MP3 is than what was encoded."""
    piece = SOUND[4096:12288]
    return max(range(2600), key=lambda shift: float(sound[4096 + shift : 12288 + shift] @ piece))


def test_what_is_slightly_short_is_said(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav_announcing(more=36)())
    with pytest.warns(audio.IncompleteWarning, match="a.wav: .* of .* bytes of sound are there"):
        assert len(read(tmp_path / "a.wav")) == SAMPLES


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("cut", [1, 10, 2000])
def test_whole_files_are_let_alone_and_short_cuts_are_noticed(tmp_path, format, cut):
    path = tmp_path / "a.audio"
    path.write_bytes(written(format))
    found = containers.inspect(path)
    assert not found.missing and found.opened(path) == path
    path.write_bytes(written(format)[:-cut])
    if format in ("FLAC", "MP3") and cut < 2000:  # found when it is read; an MP3 loses less than a frame
        return
    assert containers.inspect(path).missing if format != "FLAC" else True


# Containers that say nothing of their length, so that a shorter one is as good as a longer one.
LENGTHLESS = {"IRCAM", "PAF", "PVF", "XI"}
NO_HEADER = {"RAW", "SD2"}
ALL_KINDS = [
    (format, subtype)
    for format in soundfile.available_formats()
    if format not in NO_HEADER
    for subtype in soundfile.available_subtypes(format)
    if soundfile.check_format(format, subtype)
    and not subtype.startswith("DWVW")  # which it cannot read again
]


@pytest.mark.parametrize(("format", "subtype"), ALL_KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_container_is_whole_or_refused(tmp_path, format, subtype, channels):
    """Half of any file that libsndfile writes is refused; what it can read of that is taken if asked."""
    path = tmp_path / "a.audio"
    rate = 48000 if subtype == "OPUS" else 8000
    sound = np.stack([np.tile(SOUND, 2)] * channels, 1)
    try:
        soundfile.write(path, sound, rate, subtype, format=format)
    except soundfile.LibsndfileError:
        return  # no stereo, or not at this rate
    with warnings.catch_warnings():
        warnings.simplefilter("error", audio.IncompleteWarning)
        whole = len(read(path))
    assert whole >= len(sound)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    if format in LENGTHLESS:
        assert 0 < len(read(path)) < whole
        return
    with pytest.raises(UserError, match="a.audio: is (cut off|damaged|not audio)"):
        read(path)
    if format != "HTK" and (format, subtype) != ("VOC", "PCM_U8"):  # of which libsndfile then opens nothing
        with pytest.warns(audio.IncompleteWarning, match="a.audio"):
            assert len(read(path, incomplete_ok=True)) < whole


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 9000, 700_000])  # the last of 171 frames
@pytest.mark.parametrize("channels", [1, 2])
def test_the_length_of_a_flac_is_that_of_its_frames(tmp_path, n, channels):
    file = io.BytesIO()
    noise = np.random.default_rng(n).uniform(-0.5, 0.5, (n, channels))
    soundfile.write(file, noise, 44100, format="FLAC")
    data = bytearray(file.getvalue())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert audio.info(tmp_path / "a.flac") == (n, 44100, channels)
    assert len(read(tmp_path / "a.flac")) == n


@pytest.mark.parametrize(
    ("format", "subtype", "rate"),
    [("OGG", "VORBIS", RATE), ("OGG", "OPUS", 24000), ("MP3", None, RATE), ("FLAC", None, RATE)],
)
@pytest.mark.parametrize("size", [1, 700, 3000])
def test_what_follows_damage_is_not_moved_forward(tmp_path, format, subtype, rate, size):
    path = tmp_path / "a.audio"
    data = bytearray(written(format, subtype, rate, np.tile(SOUND, 6)))
    path.write_bytes(data)
    whole = read(path)
    at = len(data) // 2
    data[at : at + size] = bytes(255 - byte for byte in data[at : at + size])
    path.write_bytes(data)
    if format == "MP3" and size == 1:  # a frame has no checksum
        return
    with pytest.raises(audio.Incomplete, match="a.audio: is (damaged|cut off)"):
        read(path)
    with pytest.warns(audio.IncompleteWarning, match="a.audio"):
        part = read(path, incomplete_ok=True)
    assert 0.3 * len(whole) < len(part) < 0.7 * len(whole)
    same = len(part) - 5000  # the last block of what is there fades or ends otherwise
    np.testing.assert_allclose(part[:same], whole[:same], atol=1e-6)


@pytest.mark.parametrize(
    ("announced", "samples"),
    [(0x7FFFF000, 420_000_000)]
    + [(said, 750_000_000) for said in (0, 0x7FFFF000, 0xFFFFFFFF, "modulo", "with a chunk behind")],
)
def test_a_wav_of_gigabytes_is_whole_whatever_its_header_says(tmp_path, announced, samples):
    """Two hours of 24 bits at 96 kHz, whose length 32 bits cannot say; most of the file is a hole."""
    path, channels, size = tmp_path / "a.wav", 2, 6 * samples
    said = announced if isinstance(announced, int) else size & 0xFFFFFFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, 96000, 96000 * 6, 6, 24)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sI4s", b"RIFF", said, b"WAVE") + form + struct.pack("<4sI", b"data", said))
        if announced == "with a chunk behind":
            file.seek(said, 1)
            file.write(struct.pack("<4sI", b"junk", size - said - 8))
        file.seek(44 + size - 6000)
        file.write(b"\0\0\x40" * 2000)
    count = audio.info(path).samples
    if announced == "with a chunk behind":
        assert count == said // 6
    else:
        assert count == samples
        np.testing.assert_array_equal(audio.read(path, count - 1001)[0], np.append(0, np.full(1000, 0.5)))


def test_a_missing_page_and_a_damaged_first_page_are_noticed(tmp_path):
    data = written("OGG", "VORBIS", sound=np.tile(SOUND, 6))
    starts = [at for at in range(len(data)) if data.startswith(b"OggS\0", at)]
    path = tmp_path / "a.ogg"
    path.write_bytes(data[: starts[4]] + data[starts[5] :])
    assert containers.inspect(path).stop == starts[4]
    first = starts[next(n for n, at in enumerate(starts) if data[at + 6 : at + 14] != bytes(8))]
    path.write_bytes(data[: first + 99] + bytes([data[first + 99] ^ 1]) + data[first + 100 :])
    assert containers.inspect(path).stop == first


def test_an_ogg_of_a_running_broadcast_is_whole(tmp_path):
    data = written("OGG", "VORBIS", sound=np.tile(SOUND, 6))
    starts = [at for at in range(len(data)) if data.startswith(b"OggS\0", at)]
    first = next(n for n, at in enumerate(starts) if data[at + 6 : at + 14] != bytes(8))
    path = tmp_path / "a.ogg"
    path.write_bytes(data[: starts[first]] + data[starts[first + 2] :])
    assert not containers.inspect(path).missing
    path.write_bytes(data + b"junk")
    assert not containers.inspect(path).missing


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_several_recordings_in_one_ogg_are_not_taken_for_the_first(tmp_path, subtype):
    """As players record them from a broadcast; libsndfile reads the first alone, without a word."""
    path, data = tmp_path / "a.ogg", written("OGG", subtype, rate=48000)
    path.write_bytes(data)
    whole = read(path)
    path.write_bytes(data + written("OGG", subtype, rate=48000))
    found = containers.inspect(path)
    assert found.chained and found.stop == len(data)
    with pytest.raises(
        audio.Incomplete, match=f"holds several recordings.*from byte {len(data)} on, is not read"
    ):
        read(path)
    with pytest.warns(audio.IncompleteWarning, match="what follows the first.*took what is there"):
        np.testing.assert_allclose(read(path, incomplete_ok=True), whole, atol=1e-6)


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(half("WAV")())
    with pytest.raises(audio.Incomplete):
        audio.info(path)
    path.write_bytes(written("WAV"))
    assert audio.info(path).samples == SAMPLES


@pytest.mark.parametrize("size", [0, 1, 7, 12, 27, 43, 60])
@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"])
def test_a_few_bytes_of_a_file_are_refused(tmp_path, format, size):
    (tmp_path / "a.audio").write_bytes(written(format)[:size])
    with pytest.raises(UserError, match="a.audio"):
        read(tmp_path / "a.audio")


@pytest.mark.parametrize(
    ("right", "loss"), [(-1.0, "200"), (-0.891, "24"), (-0.5, "10"), (0.0, ""), (0.5, "")]
)
def test_channels_that_cancel_are_said(tmp_path, right, loss):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([SOUND, right * SOUND], 1), RATE, subtype="FLOAT")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        mix = read(path)
    np.testing.assert_allclose(mix, (1 + right) / 2 * SOUND, atol=1e-6)
    assert [f"{loss}." in str(warning.message) for warning in said] == [True] * bool(loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read(path, channel="left"), SOUND)
        np.testing.assert_allclose(read(path, channel="right"), right * SOUND, atol=1e-6)


def test_channels_that_have_nothing_in_common_are_not_warned_of(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (SAMPLES, 2))
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "a.wav")


def test_mono_is_taken_as_it_is_and_other_channels_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, RATE, subtype="FLOAT")
    for channel in audio.CHANNELS:
        np.testing.assert_array_equal(read(tmp_path / "a.wav", channel=channel), SOUND)
    with pytest.raises(UserError, match="mix, left, right"):
        read(tmp_path / "a.wav", channel="centre")


def test_a_stream_has_the_sound_of_a_file(tmp_path):
    blocks = np.array_split(np.random.default_rng(1).uniform(-1.1, 1.1, 10_000).astype(np.float32), 7)
    stream = io.BytesIO()
    clipped = audio.write_stream(stream, blocks, RATE, 10_000)
    assert clipped == audio.write(tmp_path / "a.wav", blocks, RATE) > 0
    stream.seek(0)
    np.testing.assert_array_equal(
        soundfile.read(stream, dtype="int16")[0], soundfile.read(tmp_path / "a.wav", dtype="int16")[0]
    )
    with pytest.raises(UserError, match="too many"):
        audio.write_stream(io.BytesIO(), [], RATE, 1 << 31)
