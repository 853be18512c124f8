"""`encode --level`, `--kbps` and `--min-si-snr`, and models found by the files that they made."""

import json

import pytest
import soundfile
from conftest import tones

from snn_codec.cli import main


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, tones(14.0), 22050)
    return str(path)


def rates(capsys):
    return json.loads(capsys.readouterr().out)["files"][0]


def test_a_level_makes_files_smaller_and_is_told(prompted, song, tmp_path, capsys):
    sizes = []
    for level in ("0", "12.5"):
        path = str(tmp_path / f"{level}.spk")
        assert main(["encode", song, "-o", path, "--model", prompted, "--level", level, "--json"]) == 0
        sizes.append(rates(capsys)["file_bytes"])
    assert sizes[1] < 0.9 * sizes[0]
    assert main(["info", path, "--model", prompted]) == 0
    assert "levels: 12.5 to 12.5" in capsys.readouterr().out
    assert main(["decode", path, "-o", str(tmp_path / "a.wav"), "--model", prompted]) == 0
    assert soundfile.info(tmp_path / "a.wav").frames == 14 * 22050


def test_a_rate_is_met_by_the_file(prompted, song, tmp_path, capsys):
    ends = []
    for level in ("0", "15"):
        main(
            [
                "encode",
                song,
                "-o",
                str(tmp_path / f"{level}.spk"),
                "--model",
                prompted,
                "--level",
                level,
                "--json",
            ]
        )
        ends.append(rates(capsys)["kbps"])
    wanted = sum(ends) / 2
    path = tmp_path / "a.spk"
    assert main(["encode", song, "-o", str(path), "--model", prompted, "--kbps", str(wanted), "--json"]) == 0
    assert path.stat().st_size * 8 / 14 / 1000 == pytest.approx(wanted, rel=0.05)
    capsys.readouterr()
    assert main(["encode", song, "-o", str(tmp_path / "b.spk"), "--model", prompted, "--kbps", "90"]) == 2
    complaint = capsys.readouterr().err
    assert f"{song}: no level of this model has 90 kbps" in complaint and "ask for that" in complaint
    assert not (tmp_path / "b.spk").exists()


def test_chunks_without_the_quality_are_named_by_command_and_file(prompted, song, tmp_path, capsys):
    path = str(tmp_path / "a.spk")
    asked = ["encode", song, "-o", path, "--model", prompted, "--min-si-snr"]
    assert main([*asked, "99", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("no level has 99 dB in chunk") == 3 and "(11.89 s to 14.00 s)" in captured.err
    assert json.loads(captured.out)["files"][0]["chunks_below"] == [0, 1, 2]
    assert main(["info", path, "--model", prompted]) == 0
    assert "could lift to what was asked for: 0, 1, 2" in capsys.readouterr().out
    assert main([*asked, "-99", "--force"]) == 0
    assert "no level" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--level", "3"], "no levels"), (["--kbps", "1"], "no levels"),
     (["--min-si-snr", "3"], "no levels")],
)  # fmt: skip
def test_models_without_levels_refuse_them(checkpoint, song, tmp_path, capsys, options, message):
    assert main(["encode", song, "-o", str(tmp_path / "a.spk"), "--model", str(checkpoint), *options]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_level_that_is_not_there_is_an_error(prompted, song, tmp_path, capsys):
    for level in ("16", "-1", "nan"):
        assert (
            main(["encode", song, "-o", str(tmp_path / "a.spk"), "--model", prompted, "--level", level]) == 2
        )
        assert "0 to 15" in capsys.readouterr().err


def test_events_are_decoded_with_the_shipped_model_that_made_them(
    checkpoint, song, tmp_path, capsys, monkeypatch
):
    """Without --model, decode, info and convert look at the file."""
    from snn_codec import checkpoints

    path = str(tmp_path / "a.spk")
    assert main(["encode", song, "-o", path, "--model", str(checkpoint)]) == 0
    assert main(["decode", path, "-o", str(tmp_path / "a.wav")]) == 2
    assert "decode with the model that encoded" in capsys.readouterr().err
    monkeypatch.setattr(checkpoints, "FOLDERS", (*checkpoints.FOLDERS, checkpoint.parent))
    assert main(["decode", path, "-o", str(tmp_path / "a.wav")]) == 0
