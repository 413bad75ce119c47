"""`python -m benchmarks million`, with few images, and its table."""

import contextlib
import re
from pathlib import Path

import pytest

from benchmarks import million
from benchmarks.million import DRIVER, STEPS, in_a_process, measure, words


@pytest.mark.slow
def test_every_step_is_measured_by_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def here(folder: Path, name: str, count: int) -> dict[str, float]:
        """Do in this process what a process of its own does with the most images, and nothing with fewer."""
        done.append((name, count))
        if count < 200:
            return {"cpu": count / 100, "wall": 1, "imports": 10, "peak": count}
        with contextlib.chdir(folder):
            if name == "make":
                return million.make(Path(), count) or {}
            return million.measure_files(count) if name == "files" else million.measure_step(name)

    monkeypatch.setattr(million, "in_a_process", here)
    monkeypatch.setenv("THAW_CACHE", "cache")
    measured = measure(counts=(50, 100, 200), files=200)
    assert done == [*((name, count) for count in (50, 100, 200) for name in ("make", *STEPS)), ("files", 200)]
    assert not measured.comparisons
    for step in STEPS:
        assert re.search(
            rf"^\| {step} \| 0.50 \| 1.00 \| [\d.]+ \| -?[\d.]+ \| \d+ s \| [\d,]+ MiB, ", measured.words, re.M
        )
    assert "The first limit is the memory of a solved head" in measured.words
    assert re.search(r"A folder of 200 files, .* takes [\d.]+ s to list", measured.words)


def test_growth_and_memory_are_without_what_the_fewest_images_take() -> None:
    found = {
        count: {step: {"cpu": 3 + count / 10, "wall": 7, "imports": 60, "peak": 100 + count / 2} for step in STEPS}
        for count in (10, 100, 1000)
    }
    told = words(found, 5, {"listing": 1.25, "look": 0.5, "peak": 2})
    step = next(iter(STEPS))
    assert f"\n| {step} | 4.00 | 13 | 103 | 11.0 | 7 s | 600 MiB, 540 of its own |\n" in told
    told = told.replace("\n", " ")
    of_driver = ", ".join(f"{one.partition(':')[0]} 1.43" for one in DRIVER)
    assert f"Peak memory at 100 images, in times of that at 10: {of_driver}." in told
    assert f"{len(STEPS) * 103 / 60:.0f} minutes of a core" in told


@pytest.mark.slow
def test_a_step_is_a_process_of_its_own(tmp_path: Path) -> None:
    found = in_a_process(tmp_path, "files", 30)
    assert found.keys() == {"listing", "look", "peak"}
    assert len([*tmp_path.glob("files/class */*.jpg")]) == 30
