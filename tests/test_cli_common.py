"""Options that several commands have."""

import pytest

from snn_codec.cli import info, main

TO_FILES = {
    "export netx": ["-o"],
    "export nir": ["-o"],
    "export spikes a.spk --to shd": ["-o"],
    "import a.npy --like b.npz": ["-o"],
    "listen compare a.wav": ["-o"],
    "listen export test": ["-o"],
    "evaluate --data .": ["--json", "--csv"],
}


@pytest.mark.parametrize("command", TO_FILES)
def test_a_slash_at_the_end_of_a_file_to_write_is_refused(tmp_path, monkeypatch, capsys, command):
    """As for `encode`, it ends the name of a folder, which a `Path` forgets."""
    monkeypatch.chdir(tmp_path)
    for option in TO_FILES[command]:
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), option, "out/"])
        assert ended.value.code == 2
        assert "out/: is a folder; give a file name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total capacity of 8 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
    ],
    ids=["Python", "GPU", "CPU"],
)
def test_too_little_memory_is_one_sentence(monkeypatch, capsys, error):
    def fail(options):
        raise error

    monkeypatch.setattr(info, "run", fail)
    assert main(["info", "a.spk"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("snn-codec: there is not enough memory (") and err.count("\n") == 1


def test_two_reports_in_one_file_are_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--data", ".", "--json", "out", "--csv", "./out"]) == 2
    assert "out: is the file of --json, too; give another name" in capsys.readouterr().err
