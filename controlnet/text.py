"""The text side: prompts to token ids [B,T], token ids to features [B,T,D].

Both halves are CLIP's (Radford et al. 2021) as the transformers library has them; this module
holds only the choices that Stable Diffusion 1.x makes: all positions of the last layer after the
final norm, no padding mask, every text padded and cut to the same length.

The original checkpoints keep these weights under `cond_stage_model.transformer.text_model.*`.
transformers 5 has dropped the `text_model.` from its names, so here the same weight is
`transformer.*`. Their `embeddings.position_ids` is a constant, not a weight: leave it out.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from controlnet.architecture import TextConfig


class TextEncoder(nn.Module):
    """CLIP's text transformer, read at its last layer."""

    def __init__(self, config: TextConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.config = config
        self.transformer = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.num_hidden_layers,
                num_attention_heads=config.num_attention_heads,
                max_position_embeddings=config.max_position_embeddings,
                hidden_act=config.hidden_act,
                bos_token_id=config.bos_token_id,
                eos_token_id=config.eos_token_id,
                pad_token_id=config.pad_token_id,
            )
        )
        # A constant that no checkpoint fills: it must be real even where the weights are not yet (under
        # `torch.device("meta")`), or the features are silently wrong once they are.
        positions = torch.arange(config.max_position_embeddings, device="cpu")
        self.transformer.embeddings.position_ids = positions[None]

    def forward(self, ids: Tensor) -> Tensor:
        """Return the features [B,T,D] of token ids [B,T], int64.

        Each position sees itself and those before it, padding like any other token.
        """
        features: Tensor = self.transformer(input_ids=ids).last_hidden_state
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
        self._encode = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ids [B,length], int64: start, the text's tokens, end, padding.

        What does not fit is cut; the end token stays.
        """
        batch = self._encode(
            list(texts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = batch["input_ids"]
        return ids
