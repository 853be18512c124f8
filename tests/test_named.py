"""Models by name, with decoder, search and level."""

import pytest

from snn_codec import named
from snn_codec.errors import UserError
from snn_codec.named import Named


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("free", Named("free")),
        ("wide@4", Named("wide", level=4)),
        ("wide@4.5", Named("wide", level=4.5)),
        ("wide@2.6kbps", Named("wide", kbps=2.6)),
        ("mu-sparse+search:2@1kbps", Named("mu-sparse", search=2, kbps=1)),
        ("free+gan", Named("free", "gan")),
        ("free+flow:12", Named("free", "flow", 12)),
        ("sparse+search:20", Named("sparse", search=20)),
        ("wide+filling+search:3@31", Named("wide", "filling", 0, 3, 31)),
    ],
)
def test_a_name_says_how_a_model_codes(name, found):
    assert named.parse(name) == found


def test_the_encoder_is_told_what_the_name_says():
    assert named.parse("wide+search:3@0").encoding == {"level": 0, "search": 3}
    assert named.parse("free+gan").encoding == {}


def test_a_folder_may_have_a_name_that_says_something_else(prompted, tmp_path, monkeypatch):
    (tmp_path / "run@3").symlink_to(prompted)
    monkeypatch.chdir(tmp_path)
    assert named.parse("run@3") == Named("run@3")
    assert named.parse("run@3@4") == Named("run@3", level=4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none@3", "^none: no such model"),
        ("wide@", "^wide@: no such model"),
        ("wide@-1", "^wide@-1: no such model"),
        ("free@3", "^free@3: free has no levels; leave out @3$"),
        ("free@3kbps", "^free@3kbps: free has no levels to meet a rate with; leave out @3kbps$"),
        ("wide@0kbps", "^wide@0kbps: no recording can be coded at 0 kbps; give more$"),
        ("wide@31.2", "^wide@31.2: wide has the levels 0 to 31$"),
        ("wide+gan", "has no decoder 'gan'"),
    ],
)
def test_what_is_not_there_is_a_sentence(name, said):
    with pytest.raises(UserError, match=said):
        named.parse(name)
