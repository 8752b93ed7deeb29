"""Pairs of one's own: what is read, what is cropped, and what is refused before a step is trained."""

import json

import cv2
import numpy as np
import pytest

from controlnet.annotators import make_map
from controlnet.training.pairs import JsonLinesPairs

RNG = np.random.default_rng(0)


def written(folder, source, target, prompt="words", line_end="\n"):
    """Add a pair to a folder."""
    number = len(list(folder.glob("t*.png")))
    names = f"s{number}.png", f"t{number}.png"
    for name, pixels in zip(names, (source, target), strict=True):
        cv2.imwrite(str(folder / name), pixels)
    with (folder / "prompt.json").open("a", newline="") as rows:
        row = {"source": names[0], "target": names[1], "prompt": prompt}
        rows.write(json.dumps(row, ensure_ascii=False) + line_end)


def hint(pairs, index=0):
    return pairs.hint(index, RNG)


def test_pairs_are_read_as_fill50k_is_written_and_red_stays_red(pairs):
    read = JsonLinesPairs(pairs, 8, 8)
    assert len(read) == 1
    assert read.captions(0) == ("a red square",)
    assert read.image(0)[0, 0].tolist() == [255, 0, 0]
    assert hint(read)[0, 0].tolist() == [255, 255, 255]


def test_a_map_is_shrunk_as_the_platform_shrinks_it(tmp_path):
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, 31] = 255
    written(tmp_path, lines, lines)
    made = hint(JsonLinesPairs(tmp_path, 16, 16))
    assert np.array_equal(made, make_map(lines, "none", {}, 16, 16))
    assert set(np.unique(made)) == {0, 255}


def test_what_is_transparent_is_trained_on_as_it_is_served(tmp_path):
    clear = np.zeros((8, 8, 4), np.uint8)
    written(tmp_path, clear, np.zeros((8, 8, 3), np.uint8))
    assert (hint(JsonLinesPairs(tmp_path, 8, 8)) == 255).all()


def test_another_shape_is_cropped_about_its_middle_on_both_sides_of_a_pair(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the middle square
    written(tmp_path, wide, wide)
    read = JsonLinesPairs(tmp_path, 8, 8)
    assert (read.image(0) == 200).all()
    assert (hint(read) == 200).all()


def test_pictures_may_be_wider_than_high(tmp_path):
    square = np.full((12, 12, 3), 9, np.uint8)
    written(tmp_path, square, square)
    read = JsonLinesPairs(tmp_path, 8, 16)
    assert (read.image(0).shape, hint(read).shape, read.mask(0).shape) == ((8, 16, 3), (8, 16, 3), (8, 16))


@pytest.mark.parametrize("prompt", ["a\u2028b", "a\x85b", "a\x0bb", "caf\u00e9"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_prompt_may_hold_any_character_that_json_allows(tmp_path, prompt, line_end):
    picture = np.zeros((8, 8, 3), np.uint8)
    written(tmp_path, picture, picture, prompt, line_end)
    assert JsonLinesPairs(tmp_path, 8, 8).captions(0) == (prompt,)


def test_a_byte_order_mark_is_no_fault(pairs):
    listing = pairs / "prompt.json"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes())
    assert len(JsonLinesPairs(pairs, 8, 8)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "x"}', "target and prompt must be text"),
        ('{"source": "x", "target": "y", "prompt": null}', "prompt must be text"),
        ('{"source": "x", "target": 3, "prompt": ["a"]}', "target and prompt must be text"),
        ("[1]", "it must be an object"),
        ('{"source": ', "is no JSON"),
    ],
)
def test_a_line_that_is_no_pair_is_named(pairs, line, message):
    with (pairs / "prompt.json").open("a") as rows:
        rows.write(f"{line}\n")
    with pytest.raises(ValueError, match=rf"prompt\.json has 1 fault:\nline 3 .*{message}"):
        JsonLinesPairs(pairs, 8, 8)


@pytest.mark.parametrize("name", ["source/0.png", "target/0.png"])
def test_a_missing_picture_is_named_with_its_line_before_anything_is_read(pairs, name):
    (pairs / name).unlink()
    with pytest.raises(ValueError, match=rf"line 1: .*{name}: No such file"):
        JsonLinesPairs(pairs, 8, 8)


def test_what_is_no_picture_is_named(pairs):
    (pairs / "source/0.png").write_text("<html>")
    with pytest.raises(ValueError, match=r"line 1: .*source/0\.png: This is not a picture"):
        JsonLinesPairs(pairs, 8, 8)


def test_a_pair_of_two_shapes_is_refused(tmp_path):
    written(tmp_path, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="line 1: source is 8x8, target 9x8: they must have one shape"):
        JsonLinesPairs(tmp_path, 8, 8)


def test_the_first_ten_faults_are_listed_and_the_others_counted(tmp_path):
    (tmp_path / "prompt.json").write_text("{}\n" * 12)
    with pytest.raises(ValueError, match=r"has 12 faults:\nline 1 [\s\S]*line 10 .*\n\.\.\. and 2 more$"):
        JsonLinesPairs(tmp_path, 8, 8)


@pytest.mark.parametrize(("content", "message"), [(b"\n\n", "lists no pairs"), (b"\xff\xfe", "is not UTF-8 at byte 0")])
def test_a_listing_without_pairs_is_refused(tmp_path, content, message):
    (tmp_path / "prompt.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        JsonLinesPairs(tmp_path, 8, 8)


def test_a_row_may_name_a_file_elsewhere(tmp_path, pairs):
    row = {"source": str(pairs / "source/0.png"), "target": str(pairs / "target/0.png"), "prompt": "words"}
    (tmp_path / "more").mkdir()
    (tmp_path / "more/prompt.json").write_text(json.dumps(row))
    read = JsonLinesPairs(tmp_path / "more", 8, 8)
    assert "source/0.png" in read.state
    assert read.image(0)[0, 0].tolist() == [255, 0, 0]


def test_a_listing_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"prompt\.json: No such file"):
        JsonLinesPairs(tmp_path, 8, 8)
