"""Vocabularies: read from either kind of folder, and refused where the text encoder has no place for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlnet.architecture import TextConfig
from controlnet.bundle import DEMO, Bundle
from controlnet.vocabulary import BOS, EOS, TokenizerError, check_tokenizer, read_vocabulary

VOCABULARY = {"a": 0, "b": 1, BOS: 2, EOS: 3}
CONFIG = TextConfig(vocab_size=4, max_position_embeddings=8, bos_token_id=2, eos_token_id=3, pad_token_id=3)


def write(folder: Path, vocabulary: Any = VOCABULARY, **settings: object) -> Path:
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_a_tokenizer_of_newer_transformers_has_one_too(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": VOCABULARY}}))
    assert read_vocabulary(tmp_path) == VOCABULARY


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "0"}'])
def test_what_is_no_vocabulary_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocab.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"vocab\.json"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"model": 1}'])
def test_a_whole_tokenizer_without_vocabulary_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json has no vocabulary"):
        read_vocabulary(tmp_path)


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"vocab\.json is not there"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("settings", [{}, {"model_max_length": 8}, {"model_max_length": int(1e30)}])
def test_one_that_fits_is_taken(tmp_path: Path, settings: dict[str, object]) -> None:
    check_tokenizer(write(tmp_path, **settings), CONFIG)


def test_the_shipped_one_fits() -> None:
    demo = Bundle.open(DEMO)
    check_tokenizer(demo.path("tokenizer"), demo.manifest.architecture.text)


@pytest.mark.parametrize(
    ("vocabulary", "settings", "fault"),
    [
        (VOCABULARY | {"c": 4}, {}, "it has 5 tokens, the text encoder embeddings for 4; its ids are 0..4"),
        ({BOS: 2, EOS: 3}, {}, "it has 2 tokens, the text encoder embeddings for 4"),
        (VOCABULARY | {"a": 9}, {}, r"its ids are 1\.\.9, the embeddings' 0\.\.3"),
        (VOCABULARY | {"a": -1}, {}, r"its ids are -1\.\.3"),
        (VOCABULARY | {"a": 1}, {}, "tokens share an id"),
        (VOCABULARY | {BOS: 3, EOS: 2}, {}, "is 2, the text encoder ends texts with 3"),
        ({"a": 0, "b": 1, "c": 2, EOS: 3}, {}, "its vocabulary lacks <|startoftext|>"),
        (VOCABULARY, {"model_max_length": 77}, "its texts have 77 tokens, the text encoder's 8"),
    ],
)
def test_one_that_does_not_fit_is_refused_with_why(
    tmp_path: Path, vocabulary: dict[str, int], settings: dict[str, object], fault: str
) -> None:
    with pytest.raises(TokenizerError, match=fault.replace("|", r"\|")):
        check_tokenizer(write(tmp_path, vocabulary, **settings), CONFIG)


def test_all_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    other = replace(CONFIG, vocab_size=3, bos_token_id=1, eos_token_id=2, pad_token_id=2, max_position_embeddings=4)
    with pytest.raises(TokenizerError) as error:
        check_tokenizer(write(tmp_path, model_max_length=8), other)
    assert str(error.value).count(";") == 4
