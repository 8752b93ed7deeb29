"""CLIP's text transformer (Radford et al. 2021): token ids [B,T] to features [B,T,D].

Weights have the names that transformers 5 gives them, and features are those of its `CLIPTextModel`, which the tests
compare. It is written out because importing that class takes longer than importing torch: each sampler pays that
whenever it starts.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from controlnet.architecture import TextConfig


class QuickGELU(nn.Module):
    """The approximation of GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x * sigmoid(1.702 x), of any shape."""
        return x * torch.sigmoid(1.702 * x)


class Embeddings(nn.Module):
    """Tokens and their positions as vectors."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Return [B,T,D] of ids [B,T], int64.

        Raises:
            ValueError: If T is larger than `max_position_embeddings`.
        """
        length, most = ids.shape[1], self.position_embedding.num_embeddings
        if length > most:
            raise ValueError(f"texts have {length} tokens: the encoder has positions for {most}")
        vectors: Tensor = self.token_embedding(ids) + self.position_embedding.weight[:length]
        return vectors


class Attention(nn.Module):
    """Self-attention over the positions up to each one's own."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        width = config.hidden_size
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,T,D] of [B,T,D]."""
        projected = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        q, k, v = (rearrange(each, "b t (h d) -> b h t d", h=self.heads) for each in projected)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out_proj(rearrange(attended, "b h t d -> b t (h d)"))
        return out


class MLP(nn.Module):
    """Two linear layers, with the activation that `hidden_act` names between them."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = QuickGELU() if config.hidden_act == "quick_gelu" else nn.GELU()
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,T,D] of [B,T,D]."""
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class Layer(nn.Module):
    """Attention and MLP, each after a norm and added to what came in."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,T,D] of [B,T,D]."""
        x = x + self.self_attn(self.layer_norm1(x))
        x = x + self.mlp(self.layer_norm2(x))
        return x


class Encoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,T,D] of [B,T,D]."""
        for layer in self.layers:
            x = layer(x)
        return x


class CLIPText(nn.Module):
    """Embeddings, encoder, final norm."""

    def __init__(self, config: TextConfig) -> None:
        """Build with random weights, spread as CLIP's were before training."""
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size)
        self._spread(config.hidden_size, config.num_hidden_layers)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the features [B,T,D] after the final norm, of ids [B,T], int64."""
        features: Tensor = self.final_layer_norm(self.encoder(self.embeddings(ids)))
        return features

    @torch.no_grad()
    def _spread(self, width: int, depth: int) -> None:
        residual = (2 * width * depth) ** -0.5  # what is added to the residual stream grows with its layers
        deviations = {
            "token_embedding": 0.02,
            "position_embedding": 0.02,
            "q_proj": residual,
            "k_proj": residual,
            "v_proj": residual,
            "out_proj": width**-0.5,
            "fc1": (2 * width) ** -0.5,
            "fc2": residual,
        }
        for name, module in self.named_modules():
            if (deviation := deviations.get(name.rpartition(".")[2])) is not None:
                nn.init.normal_(module.get_parameter("weight"), std=deviation)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)
