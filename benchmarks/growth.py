"""What more images cost: in time where most of them are known already, and in memory."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Comparison, Measured, once
from benchmarks.networks import LITE0
from benchmarks.photos import photos
from benchmarks.project import Project, forget

IMAGES = 10_000
FEW, MANY = 1_000, 20_000
PEAK = """
import sys
from pathlib import Path
from benchmarks.measuring import most_memory
from benchmarks.networks import LITE0
from benchmarks.project import Project
Project(Path(sys.argv[1]), LITE0).make("float32")
print("peak", most_memory())
"""


def measure() -> Measured:
    """Measure one hundredth more images against a run from nothing, and the peak memory; tensors and features."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        photos(folder / "images", IMAGES)
        project = Project(folder, LITE0)
        forget()
        from_nothing = once(lambda: project.make("float32"))
        photos(folder / "images", IMAGES + IMAGES // 100)
        project.list_images()
        project.remove_results()  # as DVC does before it runs a stage again
        more = once(lambda: project.make("float32"))
    what = f"1 % more than {IMAGES:,} photos, EfficientNet-Lite0: tensors and features"
    return Measured([Comparison(what, 0, [more], "a run from nothing", [from_nothing])], _memory())


def _memory() -> str:
    """Measure the peak memory of the stages for few and for many photos; return a sentence."""
    peaks = {}
    with TemporaryDirectory() as name:
        for count in (FEW, MANY):
            folder = Path(name) / str(count)
            photos(folder / "images", count)
            forget()
            command = [sys.executable, "-c", PEAK, str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peaks[count] = float(done.stdout.split("peak ")[1])
            shutil.rmtree(folder)
    return (
        f"Peak memory of manifest, tensors and features: {peaks[FEW]:,.0f} MiB for {FEW:,} photos, "
        f"{peaks[MANY]:,.0f} MiB for {MANY:,}: {peaks[MANY] / peaks[FEW]:.2f} times as much."
    )
