"""Make a small byte-level BPE in CLIP's own file format (`vocab.json`, `merges.txt`)."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from controlnet.vocabulary import BOS, EOS

END_OF_WORD = "</w>"

# How CLIP cuts text into words before it merges (openai/CLIP, simple_tokenizer.py): letters, one digit, the rest.
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)

Symbols = tuple[str, ...]


def bytes_to_unicode() -> list[str]:
    """Return a printable character for each of the 256 bytes, in GPT-2's and CLIP's order of tokens."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]


def pieces(text: str) -> list[str]:
    """Cut text into the words that BPE works on: "close-up" is three of them."""
    return _WORDS.findall(text.lower())


def _merged(word: Symbols, pair: tuple[str, str]) -> Symbols:
    result: list[str] = []
    for symbol in word:
        if result and (result[-1], symbol) == pair:
            result[-1] += symbol
        else:
            result.append(symbol)
    return tuple(result)


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Run BPE until every word is one token.

    Encoding applies the merges in the order they were learned, so each of these words comes out as
    the single token it became here, whatever prefixes the words share. ASCII words only.
    """
    table: set[Symbols] = {(*word[:-1], word[-1] + END_OF_WORD) for word in words}
    merges: list[tuple[str, str]] = []
    while any(len(word) > 1 for word in table):
        counts = Counter(pair for word in table for pair in pairwise(word))
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        table = {_merged(word, best) for word in table}
    return merges


def write_tokenizer(folder: Path, vocabulary: Iterable[str], length: int) -> int:
    """Write a tokenizer that `transformers.CLIPTokenizer` reads and in which each known word is one token.

    Args:
        folder: where to write `vocab.json`, `merges.txt` and `tokenizer_config.json`; made if missing.
        vocabulary: the words (or phrases, which are cut into words) to know.
        length: tokens in a context, start and end included.

    Returns:
        The number of tokens; the last two are start and end, and the end also pads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges({piece for phrase in vocabulary for piece in pieces(phrase)})
    letters = bytes_to_unicode()
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *("".join(pair) for pair in merges), BOS, EOS]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}) + "\n")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "unk_token": EOS,
        "model_max_length": length,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return len(tokens)
