"""MAESTRO tables as spreadsheets, scripts and other systems leave them: read, or refused, never passed over.

A table that is passed over sends test pieces into training, without a word.
"""

import json

import numpy as np
import pytest
import soundfile

from snn_codec import corpus
from snn_codec.errors import UserError

HEADER = "canonical_composer,split,audio_filename,midi_filename"
ROWS = [
    "Frédéric Chopin,train,2004/etude é.wav,2004/etude é.midi",
    '"Bach, J. S.",validation,2004/b.wav,2004/b.midi',
    "Ravel,test,2006/c.wav,2006/c.midi",
]
TEXT = "\n".join([HEADER, *ROWS]) + "\n"
RECORDS = [
    {"canonical_composer": who, "split": split, "audio_filename": name}
    for who, split, name in (
        ("Frédéric Chopin", "train", "2004/etude é.wav"),
        ("Bach, J. S.", "validation", "2004/b.wav"),
        ("Ravel", "test", "2006/c.wav"),
    )
]
COLUMNS = {name: {str(n): row[name] for n, row in enumerate(RECORDS)} for name in RECORDS[0]}


def semicolons(text):
    return text.replace('"Bach, J. S."', "Bach").replace(",", ";")


READ = {
    "utf-8": ("m.csv", TEXT.encode()),
    "utf-8 with a byte order mark": ("m.csv", TEXT.encode("utf-8-sig")),
    "a byte order mark before split": ("m.csv", TEXT.replace("split", "\ufeffsplit", 1).encode()),
    "cp1252": ("m.csv", TEXT.encode("cp1252")),
    "utf-16": ("m.csv", TEXT.encode("utf-16")),
    "utf-16 big-endian without a mark": ("m.csv", TEXT.encode("utf-16-be")),
    "semicolons": ("m.csv", semicolons(TEXT).encode()),
    "semicolons after Excel's hint": ("m.csv", ("sep=;\r\n" + semicolons(TEXT)).encode()),
    "semicolons in cp1252": ("m.csv", semicolons(TEXT).encode("cp1252")),
    "tabs": ("m.tsv", TEXT.replace('"Bach, J. S."', "Bach").replace(",", "\t").encode()),
    "lines of Windows": ("m.csv", TEXT.replace("\n", "\r\n").encode()),
    "lines of old Macs": ("m.csv", TEXT.replace("\n", "\r").encode()),
    "spaces in the header": ("m.csv", TEXT.replace(HEADER, HEADER.replace(",", " , ")).encode()),
    "spaces after commas": ("m.csv", TEXT.replace(",train,", ", train ,").replace(",test,", ", test ,").encode()),
    "words with spaces": ("m.csv", TEXT.replace("audio_filename", "Audio Filename").encode()),
    "capitals": ("m.csv", TEXT.replace(HEADER, HEADER.upper()).replace("train", "Train").encode()),
    "all in quotes": (
        "m.csv",
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in [HEADER, ROWS[0], ROWS[2]])
        .encode()
        + b'\n"Bach","validation","2004/b.wav","2004/b.midi"\n',
    ),
    "val for validation": ("m.csv", TEXT.replace("validation", "val").encode()),
    "backslashes": ("m.csv", TEXT.replace("2004/", "2004\\").encode()),
    "empty lines at the end": ("m.csv", (TEXT + ",,,\n\n,,,\n").encode()),
    "JSON only, as MAESTRO has it": ("maestro-v3.0.0.json", json.dumps(COLUMNS).encode()),
    "JSON only, a list of rows": ("m.json", json.dumps(RECORDS).encode()),
    "a suffix in capitals": ("MAESTRO.CSV", TEXT.encode()),
}  # fmt: skip

REFUSED = {
    "no column of files": ("m.csv", TEXT.replace("audio_filename", "file").encode(), "no column audio_filename"),
    "no column of splits": ("m.csv", TEXT.replace("split,", "part,").encode(), "no column split"),
    "a title over the header": ("m.csv", ("My copy of MAESTRO\n" + TEXT).encode(), "no column"),
    "a separator that nobody has": ("m.csv", TEXT.replace(",", "^").encode(), "no column"),
    "a split that is none": ("m.csv", TEXT.replace("validation", "dev2").encode(), "row 2 has the split 'dev2'"),
    "a row without a split": ("m.csv", TEXT.replace(",test,", ",,").encode(), "row 3 has the split ''"),
    "no rows": ("m.csv", HEADER.encode(), "no rows"),
    "half of a JSON": ("m.json", json.dumps(COLUMNS)[:-40].encode(), "cannot be read"),
    "a spreadsheet": ("maestro-v3.0.0.xlsx", b"PK\3\4", "save it as CSV"),
    "compressed": ("maestro-v3.0.0.csv.gz", b"\x1f\x8b", "save it as CSV"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in ("2004/etude é", "2004/b", "2006/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(100), 22050)
        (tmp_path / f"{name}.midi").touch()
    return tmp_path


@pytest.mark.parametrize("kind", READ)
def test_a_table_is_read_whatever_wrote_it(folder, kind):
    name, data = READ[kind]
    (folder / name).write_bytes(data)
    found = {split: corpus.recordings(folder, split) for split in corpus.SPLITS}
    assert {split: [r.path.name for r in rows] for split, rows in found.items()} == {
        "train": ["etude é.wav"],
        "validation": ["b.wav"],
        "test": ["c.wav"],
    }
    assert all(r.midi == r.path.with_suffix(".midi") for rows in found.values() for r in rows)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_looks_like_a_table_and_is_none_is_refused(folder, kind):
    name, data, reason = REFUSED[kind]
    (folder / name).write_bytes(data)
    for split in ("train", None):
        with pytest.raises(UserError, match=reason) as raised:
            corpus.recordings(folder, split)
        assert str(folder / name) in str(raised.value)


def test_other_files_beside_recordings_are_no_tables(folder):
    (folder / "units.csv").write_text("model,unit\nfree,0\n")
    (folder / "notes.json").write_text('{"take": 3}')
    (folder / "empty.csv").touch()
    (folder / "blob.csv").write_bytes(bytes(range(256)))
    (folder / "mine.xlsx").write_bytes(b"PK\3\4")
    assert corpus.table(folder) is None
    assert len(corpus.recordings(folder, None)) == 3


def test_a_json_beside_its_csv_does_not_count_and_two_csv_are_refused(folder):
    (folder / "maestro.csv").write_text(TEXT, encoding="utf-8")
    (folder / "maestro.json").write_text(json.dumps(COLUMNS))
    assert corpus.table(folder) == folder / "maestro.csv"
    (folder / "other.csv").write_text(TEXT, encoding="utf-8")
    with pytest.raises(UserError, match="2 tables with splits; keep one"):
        corpus.table(folder)
