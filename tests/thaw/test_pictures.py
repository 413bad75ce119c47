"""Pictures with names: in any script, however long."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.thaw.test_files import files_of
from thaw.formats import thumbnails
from thaw.formats.thumbnails import CELL, LEGEND, draw_grid, drawable

DRAWN = ["ash", "Bäume", "Ağaç", "đŵ", "μήλο", "яблоко", "ябълка", "խնձոր", "ვაშლი", "pomme d’api", "100 %"]
NUMBERED = ["苹果", "りんご", "사과", "تفاح", "תפוח", "सेब", "แอปเปิล", "🍎", "a\nb", "q\u0300", "apple 苹果"]


def test_a_class_goes_by_its_number_where_the_font_cannot_draw_its_name() -> None:
    classes = [*DRAWN, *NUMBERED]
    assert drawable(classes) == [*DRAWN, *(f"class {number}" for number in range(len(DRAWN), len(classes)))]


@pytest.mark.parametrize("name", DRAWN)
def test_every_character_of_a_name_that_is_drawn_has_a_shape(name: str) -> None:
    font = thumbnails._font()
    nothing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(one)) != nothing for one in name if not one.isspace())
    decomposed = unicodedata.normalize("NFD", name)  # as a Mac names files
    assert drawable([decomposed]) == [decomposed]


def drawn(folder: Path, captions: list[str], classes: list[str]) -> np.ndarray:
    """Return the grey levels of a picture in which white images have captions."""
    white = Image.new("RGB", (8, 8), "white")
    draw_grid(folder / "grid.jpg", [("", [(white, caption) for caption in captions])], classes)
    return np.asarray(Image.open(folder / "grid.jpg").convert("L"))


@pytest.mark.parametrize(
    "name", [*DRAWN, "n02085620-Chihuahua", "Prunus avium var. plena, longissima", "Ж" * 90, "W" * 90]
)
def test_a_name_stays_below_its_own_image(name: str, tmp_path: Path) -> None:
    caption = f"{name} (97%)\nis {name}"
    levels = drawn(tmp_path, ["", caption, ""], [name])
    left = 6 + CELL + 6
    assert levels[:, left : left + CELL].min() < 100
    # JPEG blurs a little beyond.
    assert levels[:, : left - 4].min() > 200
    assert levels[:, left + CELL + 4 :].min() > 200


def test_what_is_too_long_is_cut_in_the_middle(tmp_path: Path) -> None:
    one, other = (drawn(tmp_path, [f"a very long name of a class {end}"], []) for end in ("(97%)", "(12%)"))
    assert not np.array_equal(one, other)
    assert np.array_equal(*(drawn(tmp_path, [f"{'a' * count} (97%)"], []) for count in (99, 100_000)))  # at once


def test_a_picture_with_numbers_says_what_they_are(tmp_path: Path) -> None:
    plain = drawn(tmp_path, ["class 1"], ["ash", "elm"])
    told = drawn(tmp_path, ["class 1"], ["ash", "苹果"])
    height = len(plain) - 6
    assert "class_distribution.csv" in LEGEND
    assert len(told) > len(plain)
    np.testing.assert_allclose(told[: height - 8], plain[: height - 8], atol=8)
    assert told[height:].min() < 100
    assert told[:, -4:].min() > 200  # all of it


def test_a_picture_whose_end_has_no_room_is_not_written(tmp_path: Path) -> None:
    drawn(tmp_path, ["oak"], ["oak"])
    before = (tmp_path / "grid.jpg").read_bytes()
    with pytest.raises(OSError, match="File too large"), files_of(len(before) - 10):
        drawn(tmp_path, ["oak"], ["oak"])
    assert (tmp_path / "grid.jpg").read_bytes() == before
