"""The variants' learning curves as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator

from thaw.files.writing import replacing
from thaw.formats.history import best_step

MARKERS = ".x^sDv"
"""Of the first ten variants, of the next ten, and so on, which have the same colours."""


def draw_learning_curves(path: Path, histories: dict[str, dict[str, list[float]]]) -> None:
    """Draw accuracy and loss by epoch, training dashed and validation solid, as SVG.

    A variant that was solved instead of trained has no epochs; that of the C that was chosen is a dotted line.
    """
    matplotlib.rcdefaults()  # whatever a machine has configured
    matplotlib.rcParams["svg.hashsalt"] = "thaw"
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colors = pyplot.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for panel, metric in zip(panels, ("accuracy", "loss"), strict=True):
        for number, (name, history) in enumerate(sorted(histories.items())):
            color, marker = colors[number % len(colors)], MARKERS[number // len(colors) % len(MARKERS)]
            if "C" in history:
                chosen = best_step(history) or 0
                panel.axhline(history[f"val_{metric}"][chosen], color=color, linestyle=":", label=f"{name} (solved)")
            else:
                panel.plot(history["step"], history[f"val_{metric}"], color=color, marker=marker, label=name)
                panel.plot(history["step"], history[metric], color=color, linestyle="--", linewidth=0.8)
        panel.set_xlabel("epoch")
        panel.set_title(f"{metric}: validation solid, training dashed", fontsize=10)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})
    pyplot.close(figure)
