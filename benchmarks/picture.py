"""The ratios as a picture."""

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.measuring import Comparison
from thaw.files.writing import replacing

LABELLED = (0.5, 1, 2, 5, 10, 20)
INCHES = 0.22
"""For each bar."""


def draw_ratios(path: Path, sections: Mapping[str, list[Comparison]]) -> None:
    """Draw a bar for each comparison: how many times as long the other way takes, with its spread; as SVG.

    Args:
        path: where to.
        sections: comparisons by their title; those with the same other way are drawn side by side.
    """
    matplotlib.rcParams |= {"svg.hashsalt": "thaw", "svg.fonttype": "none"}
    groups: dict[str, list[Comparison]] = {}
    for title, comparisons in sections.items():
        for one in comparisons:
            groups.setdefault(f"{title}, against {one.against.replace('`', '')}", []).append(one)
    heights = [len(group) for group in groups.values()]
    figure, panels = pyplot.subplots(
        len(groups),
        figsize=(9, INCHES * (sum(heights) + 2.5 * len(groups))),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for panel, (title, group) in zip(panels[:, 0], groups.items(), strict=True):
        medians = np.array([statistics.median(one.ratios()) for one in group])
        least, most = (np.array([end(one.ratios()) for one in group]) for end in (min, max))
        rows = np.arange(len(group))
        spread = [medians - least, most - medians]
        panel.barh(rows, medians, xerr=spread, color="#3b7dd8", ecolor="#333333", height=0.65)
        panel.set_yticks(rows, [one.what.replace("`", "") for one in group], fontsize=7)
        for row, median, end in zip(rows, medians, most, strict=True):
            panel.text(end * 1.04, row, f"{median:.2f}", va="center", fontsize=7)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_title(title, fontsize=8, loc="right", fontweight="bold")
        panel.set_xscale("log")
        panel.set_xticks(LABELLED, [f"{number:g}" for number in LABELLED], fontsize=7)
        panel.tick_params(axis="x", which="both", length=0, labelbottom=True)
        panel.minorticks_off()
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_ylim(len(group) - 0.5, -0.5)
    panels[0, 0].set_xlim(0.4, 40)
    panels[-1, 0].set_xlabel("times as long as Thaw takes", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)
