"""A tokenizer's vocabulary, token -> id, and whether a text encoder has a place for it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlnet.architecture import TextConfig

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
UNBOUNDED = 1 << 20
"""transformers writes a number far above this as the longest text of a tokenizer that has no bound."""


class TokenizerError(ValueError):
    """A tokenizer can't be read or doesn't fit its text encoder; the message is a sentence that names the folder."""


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Token -> id, from vocab.json or, where newer transformers wrote the folder, tokenizer.json.

    Raises:
        TokenizerError: The folder has neither, or what it has is no vocabulary.
    """
    file, whole = folder / "vocab.json", folder / "tokenizer.json"
    if not file.is_file() and whole.is_file():
        model = _read(whole).get("model")
        file, vocabulary = whole, model.get("vocab") if isinstance(model, dict) else None
    else:
        vocabulary = _read(file)
    if not isinstance(vocabulary, dict) or not all(type(number) is int for number in vocabulary.values()):
        raise TokenizerError(f"{file} has no vocabulary: it must give each token a whole number.")
    return vocabulary


def check_tokenizer(folder: Path, config: TextConfig) -> None:
    """Refuse a tokenizer whose ids a text encoder has no embeddings for, or knows as other tokens.

    Args:
        folder: As `read_vocabulary` takes it.
        config: Of the text encoder.

    Raises:
        TokenizerError: It does not fit; all that doesn't is listed.
    """
    vocabulary = read_vocabulary(folder)
    faults = _misfits(vocabulary, config)
    length = _length(folder)
    if length is not None and length != config.max_position_embeddings:
        faults.append(f"its texts have {length} tokens, the text encoder's {config.max_position_embeddings}")
    if faults:
        raise TokenizerError(f"The tokenizer {folder} does not fit the text encoder: {'; '.join(faults)}.")


def _misfits(vocabulary: Mapping[str, int], config: TextConfig) -> list[str]:
    faults = []
    if len(vocabulary) != config.vocab_size:
        faults.append(f"it has {len(vocabulary)} tokens, the text encoder embeddings for {config.vocab_size}")
    if len(set(vocabulary.values())) != len(vocabulary):
        faults.append("tokens share an id")
    ids = vocabulary.values()
    if ids and not (min(ids) >= 0 and max(ids) < config.vocab_size):
        faults.append(f"its ids are {min(ids)}..{max(ids)}, the embeddings' 0..{config.vocab_size - 1}")
    for token, known, what in ((BOS, config.bos_token_id, "begins"), (EOS, config.eos_token_id, "ends")):
        if token not in vocabulary:
            faults.append(f"its vocabulary lacks {token}")
        elif vocabulary[token] != known:
            faults.append(f"its {token} is {vocabulary[token]}, the text encoder {what} texts with {known}")
    return faults


def _length(folder: Path) -> int | None:
    """Tokens of a text, where the folder says it."""
    file = folder / "tokenizer_config.json"
    length = _read(file).get("model_max_length") if file.is_file() else None
    return length if isinstance(length, int) and length < UNBOUNDED else None


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TokenizerError(f"{file} is not there: a tokenizer has vocab.json, or tokenizer.json.") from error
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{file} can't be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise TokenizerError(f"{file} holds no JSON object.")
    return data
