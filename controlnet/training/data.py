"""Pictures, words and hints: the rendered parts, and the batches made from them and from your own pairs."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from controlnet.parts import read_dataset
from controlnet.pixels import Bytes, to_hint, to_tensor

Batch = dict[str, Tensor]


class Pictures(Protocol):
    """Pictures with words and hints, by index. All have one size."""

    @property
    def state(self) -> str:
        """What changes when a picture does."""
        ...

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the content of all files, wherever they lie."""
        ...

    def check(self) -> None:
        """Raise ValueError where a picture can't be read; it takes as long as to read all of them."""
        ...

    def __len__(self) -> int:
        """Count the pictures."""
        ...

    def image(self, index: int) -> Bytes:
        """Return [H, W, 3] RGB."""
        ...

    def captions(self, index: int) -> Sequence[str]:
        """Return one or more ways to say what the picture shows."""
        ...

    def mask(self, index: int) -> Bytes:
        """Return [H, W], 1 where a reconstruction matters more."""
        ...

    def hint(self, index: int, rng: np.random.Generator) -> Bytes:
        """Return the control map [H, W, 3]; it may be another one each time."""
        ...


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """Hash the contents of files, each under the name by which its set knows it: `sha256:` and 64 hex digits."""
    total = hashlib.sha256()
    for name, file in files:
        with file.open("rb") as stream:
            total.update(f"{hashlib.file_digest(stream, 'sha256').hexdigest()} {name}\n".encode())
    return f"sha256:{total.hexdigest()}"


class RenderedParts:
    """A set written by `controlnet.parts.write_dataset`; its hints are edges, drawn anew each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = read_dataset(folder)

    @property
    def state(self) -> str:
        """Names, times and sizes of its files."""
        stats = [(file.name, file.stat()) for file in sorted(self._folder.iterdir())]
        return repr((str(self._folder.resolve()), [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]))

    @property
    def digest(self) -> str:
        """Of the names and contents of its files."""
        return digest_of((file.name, file) for file in sorted(self._folder.iterdir()))

    def check(self) -> None:
        """Do nothing: it was read as a whole."""

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._parts)

    def image(self, index: int) -> Bytes:
        """Return [S, S, 3] RGB."""
        return np.asarray(self._parts.images[index])

    def captions(self, index: int) -> Sequence[str]:
        """Return the four captions of the renderer."""
        return self._parts.captions[index]

    def mask(self, index: int) -> Bytes:
        """Return [S, S], 1 on a part and 0 on the bench."""
        return (np.asarray(self._parts.materials[index]) > 0).astype(np.uint8)

    def hint(self, index: int, rng: np.random.Generator) -> Bytes:
        """Return a canny map with random thresholds, now and then of a spoiled copy of the picture."""
        return random_canny(self.image(index), rng)


def random_canny(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Draw edges as a user might send them: any thresholds, and edges of blurred or noisy photographs too.

    Args:
        image: [H, W, 3] RGB.
        rng: chooses thresholds, blur, noise and contrast.

    Returns:
        [H, W, 3], 0 or 255.
    """
    picture: npt.NDArray[np.uint8] = image
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 6), picture.shape)
        contrast = rng.uniform(0.6, 1.3)
        picture = np.clip((picture.astype(np.float32) - 128) * contrast + 128 + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.6))), np.uint8)
    if rng.random() < 0.5:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    high = float(rng.uniform(80, 220))
    edges = cv2.Canny(picture, high * float(rng.uniform(0.35, 0.6)), high)
    if rng.random() < 0.15:  # strokes with gaps, as in a drawing
        edges[rng.random(edges.shape) < 0.15] = 0
    return np.repeat(np.asarray(edges, np.uint8)[..., None], 3, axis=2)


def item_rng() -> np.random.Generator:
    """Make the generator of one item from PyTorch's: that differs in each epoch, worker and process, a copy doesn't."""
    return np.random.default_rng(int(torch.randint(2**63 - 1, ())))


class Crops(Dataset[Batch]):
    """Random crops of the pictures, mirrored half of the time, with their masks: what the VAE learns from."""

    def __init__(self, pictures: Pictures, size: int) -> None:
        self._pictures, self._size = pictures, size

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Batch:
        """Return `image` [3, s, s] in [-1, 1] and `mask` [1, s, s]."""
        image, mask, rng = self._pictures.image(index), self._pictures.mask(index), item_rng()
        top = int(rng.integers(image.shape[0] - self._size + 1))
        left = int(rng.integers(image.shape[1] - self._size + 1))
        window = np.s_[top : top + self._size, left : left + self._size]
        image, mask = image[window], mask[window]
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return {"image": to_tensor(image), "mask": torch.from_numpy(mask.astype(np.float32))[None]}


class Latents(Dataset[Batch]):
    """Cached latents of the pictures, and perhaps of their mirror images, with the ids of their words.

    A caption is chosen anew each time and dropped (replaced by the empty one) with a probability; with
    `hints` there is a hint too. Item i + len(pictures) is the mirror image of item i.
    """

    def __init__(
        self,
        pictures: Pictures,
        latents: Tensor,
        tokenize: Callable[[list[str]], Tensor],
        dropout: float,
        *,
        hints: bool = False,
    ) -> None:
        """Take the cache.

        Args:
            pictures: where captions and hints come from.
            latents: [N or 2 N, C, h, w] from `cache_latents`.
            tokenize: texts to ids [B, T].
            dropout: probability of the empty caption.
            hints: whether items have a hint.
        """
        if len(latents) not in (len(pictures), 2 * len(pictures)):
            raise ValueError(f"{len(latents)} latents for {len(pictures)} pictures: it must be one or two a picture")
        self._pictures, self._latents, self._dropout, self._hints = pictures, latents, dropout, hints
        texts = sorted({text for index in range(len(pictures)) for text in pictures.captions(index)})
        self._ids = dict(zip(texts, tokenize(texts), strict=True))
        self._empty = tokenize([""])[0]

    def __len__(self) -> int:
        """Count the latents."""
        return len(self._latents)

    def __getitem__(self, index: int) -> Batch:
        """Return `latent` [C, h, w], `ids` [T] and, if asked for, `hint` [3, H, W] in [0, 1]."""
        original, rng = index % len(self._pictures), item_rng()
        captions = self._pictures.captions(original)
        caption = captions[int(rng.integers(len(captions)))]
        dropped = rng.random() < self._dropout
        item = {"latent": self._latents[index], "ids": self._empty if dropped else self._ids[caption]}
        if self._hints:
            hint = self._pictures.hint(original, rng)
            item["hint"] = to_hint(hint if index == original else hint[:, ::-1])
        return item


@torch.no_grad()
def cache_latents(
    encode: Callable[[Tensor], Tensor],
    pictures: Pictures,
    count: int | None = None,
    *,
    mirrored: bool,
    batch: int = 32,
) -> Tensor:
    """Encode every picture, then perhaps every mirror image.

    Args:
        encode: [B, 3, H, W] in [-1, 1] to latents [B, C, h, w].
        pictures: what to encode.
        count: of the first of them; all where it is not given.
        mirrored: whether to go on with the mirror images.
        batch: pictures at a time.

    Returns:
        [N or 2 N, C, h, w] on the CPU.
    """
    count = len(pictures) if count is None else count
    rows: list[Tensor] = []
    for flip in (False, True)[: 1 + mirrored]:
        for start in range(0, count, batch):
            images = torch.stack([to_tensor(pictures.image(i)) for i in range(start, min(start + batch, count))])
            rows.append(encode(images.flip(3) if flip else images).float().cpu())
    return torch.cat(rows)
