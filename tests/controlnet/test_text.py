import json
import random
from dataclasses import asdict, replace

import pytest
import torch

from controlnet.architecture import TextConfig
from controlnet.bundle import DEMO
from controlnet.text import TextEncoder, Tokenizer

CONFIG = TextConfig(
    vocab_size=20,
    hidden_size=12,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=8,
    bos_token_id=18,
    eos_token_id=19,
    pad_token_id=19,
)
IDS = torch.tensor([[18, 1, 2, 3, 19, 19, 19, 19]])


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextEncoder(CONFIG).eval()


@pytest.fixture
def folder(tmp_path):
    """A vocabulary that knows letters and the word "gear"."""
    pairs = ["a r</w>", "g e", "ge ar</w>"]
    words = [*"abegr", *(f"{letter}</w>" for letter in "abegr"), "ar</w>", "ge", "gear</w>"]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    return tmp_path


@torch.no_grad()
def test_every_position_gets_a_feature(encoder):
    assert encoder(IDS).shape == (1, 8, 12)


@torch.no_grad()
def test_features_come_after_the_final_norm(encoder):
    norm = encoder.transformer.final_layer_norm
    before = encoder(IDS)
    norm.weight.mul_(2)
    norm.bias.mul_(2)
    torch.testing.assert_close(encoder(IDS), 2 * before)


@torch.no_grad()
def test_a_position_does_not_see_those_after_it(encoder):
    changed = IDS.clone()
    changed[0, 3] = 7
    same = (encoder(IDS) == encoder(changed)).all(dim=2)[0].tolist()
    assert same == [True] * 3 + [False] * 5


@torch.no_grad()
def test_weights_that_arrive_later_are_enough(encoder):
    with torch.device("meta"):
        empty = TextEncoder(CONFIG)
    empty.load_state_dict(encoder.state_dict(), assign=True)
    # A count of positions that is a buffer would stay on "meta", where looking it up gives garbage and no error.
    assert not any(buffer.is_meta for buffer in empty.buffers())
    torch.testing.assert_close(empty.eval()(IDS), encoder(IDS))


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_features_are_those_of_transformers(encoder, activation):
    from transformers import CLIPTextConfig, CLIPTextModel  # takes seconds

    config = replace(CONFIG, hidden_act=activation)
    theirs = CLIPTextModel(CLIPTextConfig(**asdict(config))).eval()
    encoder = TextEncoder(config).eval()
    encoder.transformer.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(encoder(IDS), theirs(input_ids=IDS).last_hidden_state)


def test_random_weights_are_spread_as_those_of_transformers():
    from transformers import CLIPTextConfig, CLIPTextModel

    config = replace(CONFIG, hidden_size=64, intermediate_size=256, num_hidden_layers=3)
    torch.manual_seed(0)
    theirs = CLIPTextModel(CLIPTextConfig(**asdict(config))).state_dict()
    ours = TextEncoder(config).transformer.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name].std(), weight.std(), rtol=0.1, atol=0, msg=name)
        torch.testing.assert_close(ours[name].mean(), weight.mean(), rtol=0, atol=0.01, msg=name)


def test_too_long_a_text_is_refused(encoder):
    with pytest.raises(ValueError, match="texts have 9 tokens: the encoder has positions for 8"):
        encoder(torch.zeros(1, 9, dtype=torch.int64))


def test_ids_are_those_of_transformers():
    from transformers import CLIPTokenizer

    folder = DEMO / "tokenizer"
    theirs = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    letters = ["½²é\u0301İß\u200b\u00a0日本🙂", "'s've", "<|endoftext|>", "<|START", " \t\n", "Gear 12", "!?"]
    luck = random.Random(0)
    texts = ["", "<|startoftext|>a<|ENDOFTEXT|>", "a" * 500, "<|endoftext|>" * 90]
    texts += ["".join(luck.choices("".join(letters), k=luck.randrange(60))) for _ in range(200)]
    texts += ["".join(luck.choices(letters, k=luck.randrange(20))) for _ in range(200)]
    expected = theirs(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")["input_ids"]
    torch.testing.assert_close(Tokenizer(folder, 77)(texts), expected)


def test_texts_start_end_and_are_padded(folder):
    tokenizer = Tokenizer(folder, length=6)
    assert tokenizer(["gear bar", ""]).tolist() == [[13, 12, 1, 10, 14, 14], [13, 14, 14, 14, 14, 14]]


def test_long_texts_are_cut_before_the_end_token(folder):
    tokenizer = Tokenizer(folder, length=4)
    assert tokenizer(["gear gear gear gear"]).tolist() == [[13, 12, 12, 14]]


def test_case_and_spaces_do_not_matter(folder):
    tokenizer = Tokenizer(folder, length=6)
    assert torch.equal(tokenizer(["Gear   BAR "]), tokenizer(["gear bar"]))


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_folder_without_a_vocabulary_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Tokenizer(folder, length=6)
