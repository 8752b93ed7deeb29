"""The text side: prompts to token ids [B,T], token ids to features [B,T,D].

Both halves are CLIP's (Radford et al. 2021); this module holds the choices that Stable Diffusion 1.x makes: all
positions of the last layer after the final norm, no padding mask, every text padded and cut to the same length.

The original checkpoints keep these weights under `cond_stage_model.transformer.text_model.*`. transformers 5 has
dropped the `text_model.` from its names, so here the same weight is `transformer.*`. Their `embeddings.position_ids`
is a constant, not a weight: leave it out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Encoding
from torch import Tensor, nn

from controlnet.architecture import TextConfig
from controlnet.clip import CLIPText
from controlnet.vocabulary import BOS, EOS

WORDS = rf"{re.escape(BOS)}|{re.escape(EOS)}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"
"""What of a text becomes tokens, piece by piece: letters, single digits, runs of anything else."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A text that is longer than what is read.

    Attributes:
        tokens: Of the whole text.
        read: Tokens that are read, start and end not counted.
        rest: The end of the text, which is not read.
    """

    tokens: int
    read: int
    rest: str


class TextEncoder(nn.Module):
    """CLIP's text transformer, read at its last layer."""

    def __init__(self, config: TextConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.config = config
        self.transformer = CLIPText(config)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the features [B,T,D] of token ids [B,T], int64.

        Each position sees itself and those before it, padding like any other token.
        """
        features: Tensor = self.transformer(ids)
        return features


class Tokenizer:
    """Byte-pair encoding with the vocabulary in a folder."""

    def __init__(self, folder: Path, length: int) -> None:
        """Read `vocab.json` and `merges.txt` of `folder`; texts become `length` tokens each.

        Raises:
            FileNotFoundError: If the folder lacks one of the two files.
        """
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} has no {name}: a tokenizer needs it")
        self.length = length
        self._encoding = _clip_encoding(folder)
        self._encoding.enable_truncation(length)
        self._encoding.enable_padding(length=length, pad_token=EOS, pad_id=self._encoding.token_to_id(EOS))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ids [B,length], int64: start, the text's tokens, end, padding.

        What does not fit is cut; the end token stays.
        """
        return torch.tensor([encoded.ids for encoded in self._encoding.encode_batch(list(texts))])

    def cut(self, text: str) -> Cut | None:
        """What of a text does not fit; None where all of it does."""
        encoded = self._encoding.encode(text)
        if not encoded.overflowing:
            return None
        tokens = sum(1 - special for part in (encoded, *encoded.overflowing) for special in part.special_tokens_mask)
        read = self.length - 2
        return Cut(tokens, read, text[encoded.offsets[read][1] :].strip())


def _clip_encoding(folder: Path) -> Encoding:
    """CLIP's byte-pair encoding, as `transformers.CLIPTokenizer` sets it up."""
    vocabulary, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    encoding = Encoding(
        models.BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=EOS)
    )
    encoding.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    encoding.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    encoding.post_processor = processors.RobertaProcessing(
        (EOS, vocabulary[EOS]), (BOS, vocabulary[BOS]), trim_offsets=False, add_prefix_space=False
    )
    encoding.add_special_tokens([BOS, EOS])
    return encoding
