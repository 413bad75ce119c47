"""DVC's own front ends, and the VS Code extension that calls them: experiments, their table, plots."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from tests.conftest import CLASSES, EPOCHS, IMAGES_PER_CLASS, RATE, ROOT, Experiment, Outcome, Project


def parsed(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.text
    # Warnings may stand around it.
    return json.JSONDecoder().raw_decode(outcome.text, min(map(outcome.text.index, "[{")))[0]


def experiments(project: Project) -> dict[str, dict[str, Any]]:
    """Return what the table of experiments has about those of the current commit, by name."""
    _, commit = parsed(project.dvc("exp", "show", "--json"))
    return {one["name"]: one["revs"][0]["data"] for one in commit["experiments"]}


def fit(experiment: dict[str, Any]) -> Any:
    """Return the parameters of a training in an experiment."""
    return experiment["params"]["params.yaml"]["data"]["variants"]["half"]["fit"]


def test_an_experiment_changes_a_parameter_and_runs_what_depends_on_it(experiment: Experiment) -> None:
    assert experiment.outcome.ran == ["train@half", "evaluate@half", "report"]
    longer = experiments(experiment.project)["longer"]
    assert fit(longer) == {"epochs": EPOCHS, "optimizer": {"Adam": {"learning_rate": RATE}}}
    scores = longer["metrics"]["metrics/half.json"]["data"]
    assert all(0 <= scores[split]["accuracy"] <= 1 for split in ("validation", "test"))


def test_a_learning_curve_is_shown_while_it_grows(experiment: Experiment) -> None:
    (_, *rows), (_, *so_far) = (one.splitlines() for one in (experiment.curve, experiment.curve_meanwhile))
    assert rows[: len(so_far)] == so_far  # below the first line, which has the file's digest
    assert 0 < len(so_far) < len(rows) == EPOCHS
    plots = parsed(experiment.meanwhile["plots"])
    assert not plots.get("errors")
    assert len(parsed(experiment.meanwhile["table"])) == 2
    assert drawn(plots, "data/history/half.csv") == {"HEAD", "workspace"}
    assert len(parsed(experiment.meanwhile["table"])) == 2  # the workspace, and the commit


def drawn(plots: Any, file: str) -> set[str]:
    """Return the revisions that a file's plots show."""
    return {revision for plot in plots["data"][file] for revision in plot["revisions"]}


def test_the_table_of_experiments_can_be_read(experiment: Experiment) -> None:
    (command,) = re.findall(r"^experiments:\n\t(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    _, *words = shlex.split(command.replace("$$", "$"))
    table = experiment.project.dvc(*words, "--md")
    head, _, *rows = [line.split("|")[1:-1] for line in table.text.splitlines() if line.startswith("|")]
    names = [name.strip() for name in head]
    assert names[0] == "Experiment"
    assert names[-2:] == ["variants.half.fit.epochs", "variants.half.fit.optimizer.Adam.learning_rate"]
    of_validation = [name for name in names if name.startswith("metrics/half.json:validation.")]
    of_test = [name for name in names if name.startswith("metrics/half.json:test.")]
    assert "metrics/half.json:validation.log_loss" in of_validation
    assert names[1:-2] == [*of_validation, *of_test]
    assert [row[-2].strip() for row in rows] == ["1", "1", str(EPOCHS)]


def test_plots_of_experiments_and_variants_are_written(experiment: Experiment, tmp_path: Path) -> None:
    project = experiment.project
    for name, command in {"show": ["show"], "diff": ["diff", "main", "longer"]}.items():
        assert project.dvc("plots", *command, "--out", str(tmp_path / name)).code == 0
    show, diff = ((tmp_path / name / "index.html").read_text() for name in ("show", "diff"))
    for variant in ("frozen_head", "half", "full"):
        assert f'"text": "data/history/{variant}.csv"' in show  # a plot's title
        assert list((tmp_path / "show" / "static").glob(f"*{variant}.jpg"))
    assert '"rev": "main"' in diff
    assert '"rev": "longer"' in diff


def test_a_queued_grid_runs_beside_the_workspace_with_the_rows_that_are_known(experiment: Experiment) -> None:
    project = experiment.project
    before = project.params.read_bytes()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ((queue, start),) = re.findall(r"^dvc (exp run --queue .*) && dvc (queue start)\b", readme, re.MULTILINE)
    grid = re.sub(r"=(\d+),\d+$", rf"=\1,{EPOCHS}", queue)
    others = (
        f"variants.half.fit.optimizer.Adam.learning_rate={RATE}",
        "+features.again={tensors: small, backbone: lite0, layer: top, pooling: avg}",
    )
    named = ("--name", "queued", "-S", others[0], "-S", others[1])
    # `queue start` ends at once; what it prints into is closed when the queue is empty and its worker has ended.
    for command in ([*grid.split(), *named], start.split()):
        outcome = project.dvc(*command)
        assert outcome.code == 0, outcome.text
    logs = [project.dvc("queue", "logs", f"queued-{number}") for number in (1, 2)]
    # All else that they read comes from DVC's cache, where one of the trainings is, too.
    assert [sorted(log.ran) for log in logs] == [
        ["evaluate@half", "features@again", "report", "train@half"],
        ["report"],
    ]
    images = len(CLASSES) * IMAGES_PER_CLASS
    assert f"; {images} of {images} rows were computed before\n" in logs[0].text
    assert project.params.read_bytes() == before
    # Nor does it matter what a process that was killed while it wrote a curve leaves behind.
    (project.folder / "data" / "history" / ".half.1.partial.csv").write_text("step")
    assert project.repro().ran == []
    done = experiments(project)
    assert [fit(done[f"queued-{number}"])["epochs"] for number in (1, 2)] == [4, EPOCHS]
    assert done["queued-2"]["metrics"] == done["longer"]["metrics"]
