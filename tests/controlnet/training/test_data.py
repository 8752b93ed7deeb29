import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from controlnet.pixels import to_hint, to_tensor
from controlnet.training.data import Crops, Latents, cache_latents, random_canny


def test_pictures_and_hints_have_the_ranges_of_the_original():
    extremes = np.zeros((1, 2, 3), np.uint8)
    extremes[0, 1] = 255
    assert to_tensor(extremes)[0].tolist() == [[-1, 1]]
    assert to_hint(extremes)[0].tolist() == [[0, 1]]


def test_a_hint_is_channels_first_between_zero_and_one():
    ramp = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    hint = to_hint(ramp)
    assert hint.dtype == torch.float32
    assert hint.shape == (3, 12, 16)
    assert hint.is_contiguous()
    assert np.array_equal(hint[1].numpy(), ramp[:, :, 1].astype(np.float32) / 255)
    assert to_hint(np.full((1, 1, 3), 255, np.uint8)).max() == 1.0


def test_random_canny_is_black_and_white_and_decided_by_its_generator(parts):
    first, second = (random_canny(parts.image(0), np.random.default_rng(3)) for _ in range(2))
    assert set(np.unique(first)) == {0, 255}
    assert (first == second).all()
    assert (first != random_canny(parts.image(0), np.random.default_rng(4))).any()


class Marked:
    """Four times one picture, white where the mask is."""

    def __len__(self):
        return 4

    def image(self, index):
        return np.random.default_rng(0).integers(0, 2, (16, 16, 1), np.uint8).repeat(3, 2) * 255

    def mask(self, index):
        return (self.image(0)[..., 0] > 0).astype(np.uint8)


def test_crops_show_the_same_place_of_picture_and_mask():
    for _ in range(4):
        item = Crops(Marked(), 8)[0]
        assert item["image"].shape == (3, 8, 8)
        assert torch.equal(item["image"][:1] > 0, item["mask"] > 0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than a core: the machine may have one
def test_crops_differ_in_every_worker_and_epoch():
    torch.manual_seed(0)
    loader = DataLoader(Crops(Marked(), 8), batch_size=None, num_workers=2)
    crops = [item["mask"] for _ in range(2) for item in loader]
    assert len({crop.numpy().tobytes() for crop in crops}) == len(crops)


def test_crops_are_decided_by_the_seed_of_the_run():
    torch.manual_seed(0)
    first = Crops(Marked(), 8)[0]["mask"]
    torch.manual_seed(0)
    assert torch.equal(first, Crops(Marked(), 8)[0]["mask"])


def tokenize(texts):
    return torch.tensor([[len(text)] for text in texts])


def test_latents_come_with_their_words_and_mirror_images_with_mirrored_hints(parts):
    latents = cache_latents(lambda images: images[:, :, ::4, ::4], parts, mirrored=True, batch=3)
    assert len(latents) == 16
    assert torch.equal(latents[8][..., 0], to_tensor(parts.image(0))[:, ::4, -1])
    both = Latents(parts, latents, tokenize, dropout=0.0, hints=True)
    torch.manual_seed(5)
    straight = both[0]
    torch.manual_seed(5)
    mirrored = both[len(parts)]
    assert straight["ids"].item() in {len(text) for text in parts.captions(0)}
    assert torch.equal(straight["hint"].flip(2), mirrored["hint"])


def test_dropped_captions_are_the_empty_one(parts):
    latents = torch.zeros(len(parts), 4, 8, 8)
    dropped = Latents(parts, latents, tokenize, dropout=1.0)
    assert all(dropped[i]["ids"].item() == 0 for i in range(len(parts)))


def test_latents_of_other_pictures_are_refused(parts):
    with pytest.raises(ValueError, match="3 latents for 8 pictures"):
        Latents(parts, torch.zeros(3, 4, 8, 8), tokenize, dropout=0.0)
