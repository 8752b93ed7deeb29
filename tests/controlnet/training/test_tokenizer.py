import pytest

from controlnet.parts import VOCABULARY
from controlnet.text import Tokenizer
from controlnet.training.tokenizer import learn_merges, pieces, write_tokenizer


@pytest.fixture(scope="module")
def read():
    """transformers' own reading of a folder."""
    from transformers import CLIPTokenizer  # takes seconds

    return CLIPTokenizer.from_pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, VOCABULARY, 32)
    return folder


def test_every_known_word_is_one_token(folder, read):
    tokenizer = read(str(folder))
    for word in {piece for phrase in VOCABULARY for piece in pieces(phrase)}:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_a_text_starts_with_the_start_and_is_padded_with_the_end(folder, read):
    ids = Tokenizer(folder, 32)(["a brass gear on a blue bench"])[0]
    size = len(read(str(folder)))
    assert ids[0] == size - 2
    assert (ids[8:] == size - 1).all()
    assert (ids[1:8] < size - 2).all()


def test_an_unknown_word_falls_into_pieces_that_spell_it(folder, read):
    tokens = read(str(folder)).tokenize("zebra")
    assert len(tokens) > 1
    assert "".join(tokens) == "zebra</w>"


def test_writing_twice_gives_the_same_files(folder, tmp_path):
    write_tokenizer(tmp_path, VOCABULARY, 32)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {f.name: f.read_bytes() for f in folder.iterdir()}


def test_words_that_share_a_beginning_do_not_break_each_other():
    merges = learn_merges({"on", "one", "ones", "none"})
    assert {"".join(pair) for pair in merges} >= {"on</w>", "one</w>", "ones</w>", "none</w>"}
