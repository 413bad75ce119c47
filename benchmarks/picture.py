"""The ratios as a picture."""

import statistics
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.measuring import Comparison
from thaw.files import replacing


def draw_ratios(path: Path, comparisons: list[Comparison]) -> None:
    """Draw a bar for each comparison: how many times as long the other way takes, with its spread; as SVG."""
    matplotlib.rcParams["svg.hashsalt"] = "thaw"
    names = [f"{one.what}\nagainst {one.against.replace('`', '')}" for one in comparisons]
    medians = [statistics.median(one.ratios()) for one in comparisons]
    spread = [
        [median - min(one.ratios()), max(one.ratios()) - median]
        for median, one in zip(medians, comparisons, strict=True)
    ]
    figure, panel = pyplot.subplots(figsize=(10, 0.5 * len(names) + 1), layout="constrained")
    panel.barh(names, medians, xerr=np.transpose(spread), color="#3b7dd8", ecolor="#555555", height=0.6)
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.set_xlabel("times as long as Thaw takes")
    panel.tick_params(axis="y", labelsize=7)
    panel.invert_yaxis()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)
