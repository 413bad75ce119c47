"""`thaw review`, on a project whose stages copy predictions that the tests make up."""

import contextlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from commands import lock, pipeline, review
from commands.git import file_at, require_commit
from commands.review import compared
from tests.conftest import ROOT, Project
from thaw.errors import UserError
from thaw.formats.label_issues import LabelIssue, write_label_issues
from thaw.formats.manifest import Row, write_manifest
from thaw.formats.predictions import Predictions, write_predictions
from thaw.formats.thumbnails import thumbnail, writing_thumbnails
from thaw.scoring.scoring import score
from thaw.scoring.significance import paired_tests

PIPELINE = """
stages:
  manifest:
    cmd: cp given/manifest.csv data/manifest.csv && cp given/thumbnails.zip data/thumbnails.zip
    deps: [given/manifest.csv, given/thumbnails.zip]
    outs: [data/manifest.csv, data/thumbnails.zip]
  evaluate:
    foreach: ${variants}
    do:
      cmd: cp given/${key}.csv data/predictions/${key}.csv && cp given/${key}.json metrics/${key}.json
      params: ["variants.${key}"]
      deps: ["given/${key}.csv", "given/${key}.json", data/manifest.csv]
      outs: ["data/predictions/${key}.csv"]
      metrics: ["metrics/${key}.json": {cache: false}]
  seeds:
    foreach: [half]
    do:
      cmd: cp given/seeds.json metrics/seeds/${item}.json
      deps: [given/seeds.json]
      metrics: ["metrics/seeds/${item}.json": {cache: false}]
  label_issues:
    foreach: [bottleneck]
    do:
      cmd: cp given/issues.csv data/label_issues/${item}.csv
      deps: [given/issues.csv]
      outs: ["data/label_issues/${item}.csv": {cache: false}]
"""
CLASSES = ["007", "NA"]  # which are text like any other
IMAGES = [f"tree {number}.png" for number in range(40)]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments], cwd=folder, check=True)


def suspect(project: Project, *numbers: int) -> None:
    """Make up a table in which the labels of some images are suspected, and that of another is not."""
    issues = [LabelIssue(IMAGES[number], "oak", "pine", 0.1, number != 39) for number in (*numbers, 39)]
    with contextlib.chdir(project.folder):  # of which a table says which of its files it is
        write_label_issues(Path("data/label_issues/bottleneck.csv"), issues)
        Path("data/label_issues/bottleneck.csv").replace("given/issues.csv")


def give_seeds(project: Project, least: float) -> None:
    """Make up the ranges of a variant's scores over its seeds: of accuracies, wide on the validation split only."""
    scores = {"accuracy_mean": 0.85, "accuracy_min": least, "accuracy_max": 0.95}
    scores |= {"log_loss_mean": 0.5, "log_loss_min": 0.45, "log_loss_max": 0.5}
    test = scores | {"accuracy_min": 0.8}
    given = {"seeds": 3, "validation": scores, "test": test}
    (project.folder / "given" / "seeds.json").write_text(json.dumps(given))


def give(project: Project, wrong: dict[str, set[int]], digests: dict[str, str] | None = None) -> None:
    """Make up predictions in which some images are wrong, and what comes with them."""
    given = project.folder / "given"
    given.mkdir(exist_ok=True)
    labels = np.arange(len(IMAGES)) % 2
    for name, numbers in wrong.items():
        probabilities = np.where(np.eye(2)[labels] == 1, 0.8, 0.2)
        probabilities[sorted(numbers)] = probabilities[sorted(numbers), ::-1]
        write_predictions(given / f"{name}.csv", Predictions(IMAGES, labels, probabilities, CLASSES))
        scores = {"chosen_on": "validation", "validation": asdict(score(labels[::2], probabilities[::2]))}
        scores["test"] = asdict(score(labels, probabilities))
        (given / f"{name}.json").write_text(json.dumps(scores, indent=2))
    sha256 = {path: f"digest {number}" for number, path in enumerate(IMAGES)} | (digests or {})
    rows = [Row(path, CLASSES[label], "test", sha256[path]) for path, label in zip(IMAGES, labels, strict=True)]
    write_manifest(given / "manifest.csv", rows)
    with writing_thumbnails(given / "thumbnails.zip") as pictures:
        for row in rows:
            pictures.add(row.sha256, thumbnail(Image.new("RGB", (30, 20), "green")))


@pytest.fixture(scope="module")
def reviewed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two variants, of which one has changed since the commit `before`."""
    folder = tmp_path_factory.mktemp("reviewed") / "a project"
    (folder / "data" / "predictions").mkdir(parents=True)
    (folder / "metrics" / "seeds").mkdir(parents=True)
    (folder / "data" / "label_issues").mkdir()
    project = Project(folder, plain)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    assert project.dvc("init", "--quiet").code == 0
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "nothing has run")
    git(folder, "tag", "empty")
    project.write_params({"variants": {"half": {"epochs": 1}, "full": {"epochs": 1}}})
    give(project, {"half": {0, 1, 2}, "full": {3}})
    suspect(project, 1, 2, 3)
    give_seeds(project, 0.8)
    project.repro()
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "before")
    git(folder, "tag", "before")
    project.write_params({"variants": {"half": {"epochs": 2, "seed": 7}, "full": {"epochs": 1}}})
    give(project, {"half": {2, *range(10, 22)}, "full": {3}})
    suspect(project, 1, *range(10, 18))
    give_seeds(project, 0.65)
    project.repro()
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "after")
    return project


@pytest.fixture
def here(reviewed: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(reviewed.folder)
    return reviewed


@pytest.mark.slow
def test_a_damaged_copy_in_dvcs_cache_is_named(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """DVC takes it for what it was."""
    path = "data/predictions/half.csv"
    (stored,) = (here.folder / ".dvc" / "cache").rglob(
        lock.hashes(lock.stages_now()["evaluate@half"], "outs")[path][2:]
    )
    content = stored.read_bytes()
    stored.chmod(0o644)
    try:
        stored.write_bytes(content.replace(b"0.8", b"0.7", 1))
        review.main("before")
        told = f"The predictions were not compared: {stored.resolve()}: DVC's copy of {path} is damaged; delete it"
        assert told in capsys.readouterr().out
    finally:
        stored.write_bytes(content)
        stored.chmod(0o444)


def interval(correct: int, images: int = len(IMAGES)) -> str:
    """Return accuracy and Wilson's interval as they are shown."""
    bounds = binomtest(correct, images).proportion_ci(method="wilson")
    return f"{correct / images} ({round(bounds.low, 5)} – {round(bounds.high, 5)})"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_review_tells_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    review.main("before", md=True)
    text = capsys.readouterr().out
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert ["variants.half.epochs", "1", "2"] in rows
    assert ["variants.half.seed", "", "7"] in rows
    assert ["evaluate@half", "data/predictions/half.csv<br>metrics/half.json"] in rows
    assert not any("full" in row[0] for row in rows)
    (accuracy,) = [row for row in rows if row[1] == "test.accuracy"]
    # McNemar's test is of the 2 images against the 12 that only one gets right.
    assert accuracy[2:] == [interval(37), interval(27), "-0.25", f"{binomtest(2, 14).pvalue:.3f}"]
    assert not any(row[1].endswith(("_low", "_high")) for row in rows)
    of_half = [row[1:] for row in rows if row[0] == "metrics/half.json"]
    splits = [row[0].partition(".")[0] for row in of_half]
    assert splits == sorted(splits, reverse=True)  # validation, by which one chooses, before test
    (accuracy,) = [row for row in of_half if row[0] == "validation.accuracy"]
    assert accuracy[1:] == [interval(18, 20), interval(13, 20), "-0.25"]  # without a p
    assert "- half: accuracy, macro-F1 and log loss worse. Only right at before: 12; only right here: 2." in text
    # Of the ranges then and now, the wider one counts: 0.3 of validation accuracy, 0.15 of test accuracy.
    warning = (
        "- half: warning: the change of validation.accuracy (range 0.3) is no larger than the range over its seeds"
    )
    assert warning in text
    assert ["metrics/seeds/half.json", "validation.accuracy_mean"] not in [row[:2] for row in rows]  # is as it was
    assert not any(row[1].endswith(("_min", "_max")) for row in rows if len(row) > 1)
    assert "![Images that flipped](dvc_plots/flipped.jpg)" in text
    told = "2 of then are no more suspected; 9 labels are suspected, 8 of them new since before: "
    assert f"- label_issues.bottleneck: {told}tree 10.png (oak → pine); tree 11.png" in text
    assert "tree 14.png (oak → pine) and 3 more." in text
    assert "Nothing changed" not in text
    assert "not up to date" not in text


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_flipped_images_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    review.SHEET.unlink(missing_ok=True)
    review.main("before")
    assert "Images that flipped: dvc_plots/flipped.jpg" in capsys.readouterr().out
    with Image.open(review.SHEET) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # 12 images that are wrong now fill two rows, 2 that are right now a third one, of 8 pictures at most.
    green = np.abs(pixels - np.array([0, 128, 0])).sum(axis=2) < 60
    assert green.sum() == pytest.approx(14 * 96 * 64, rel=0.05)


def test_a_review_agrees_with_dvcs_own_diff(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    review.main("before", md=True)
    ours = {}
    for row in map(cells, capsys.readouterr().out.splitlines()):
        if row[0] == "metrics/half.json":
            ours[row[1]] = [*(side.split(" ")[0] for side in row[2:4]), row[4]]
    table = here.dvc("metrics", "diff", "before", "--md").text
    theirs = {row[1]: row[2:] for row in map(cells, table.splitlines()) if row[0] == "metrics/half.json"}
    bounds = {name for name in theirs if name.endswith(("_low", "_high"))}
    assert len(bounds) == 12
    assert ours == {name: values for name, values in theirs.items() if name not in bounds}


@pytest.mark.usefixtures("here")
def test_since_now_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    review.main("HEAD")
    assert "Nothing changed." in capsys.readouterr().out


def test_results_that_are_not_those_of_the_parameters_are_told(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    params = here.params.read_text()
    here.params.write_text(params.replace("seed: 7", "seed: 8"))
    review.main("before")
    here.params.write_text(params)
    assert "dvc.lock is not up to date for evaluate@half:" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_that_cannot_be_read_are_told_and_not_taken_for_none(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here.folder / "metrics" / "half.json"
    scores = path.read_text()
    told = "Could not be read, and is not compared: {}metrics/half.json: JSON file structure is corrupted.\n"
    try:
        path.write_text("<<<<<<< HEAD\n")
        review.main("before")
        printed = capsys.readouterr().out
        assert told.format("") in printed
        assert "metrics/half.json  test.accuracy" not in printed
        git(here.folder, "commit", "--quiet", "--all", "--message", "merged")
        path.write_text(scores)
        review.main("HEAD")
        printed = capsys.readouterr().out
        assert told.format("HEAD:") in printed
        assert "metrics/half.json  test.accuracy" not in printed
    finally:
        path.write_text(scores)
        git(here.folder, "reset", "--quiet", "--soft", "HEAD~")


def test_of_a_commit_that_cannot_be_read_nothing_is_compared() -> None:
    repo: Any = SimpleNamespace(root_dir=str(Path.cwd()))
    diff = {"params.yaml": {"seed": {"new": 1}}}
    found = compared._below_here(repo, {"diff": diff, "errors": {"main": ValueError("no YAML")}})
    assert found == ({}, ["main: no YAML"])


def test_parameters_have_all_of_their_digits_and_the_base_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review.git, "require_commit", lambda _: "0" * 40)
    changed = [("learning_rate", 4e-7, 1e-6), ("layer", "top", None), ("shuffle", True, ["a|b"])]
    found = compared.Review(changed, [], [], [], 0, [], None, [compared.Suspected("midway", [], [], 2)])
    text = "\n".join(review.review_as_text(found, "fix|_a_", [], None, markdown=True))
    assert text.startswith("## Changes since fix\\|\\_a\\_ (0000000)\n\n| parameter | fix\\|\\_a\\_ | here |\n")
    assert "| learning_rate | 4e-07 | 1e-06 |\n" in text
    assert '| layer | "top" |  |\n| shuffle | true | \\["a\\|b"\\] |\n' in text
    assert text.endswith("0 of them new since fix\\|\\_a\\_.\n")


def test_other_projects_in_a_repository_are_none_of_this_ones(
    tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    assert Project(tmp_path, plain).dvc("init", "--quiet").code == 0
    for is_now in (False, True):
        for folder in (tmp_path / "one", tmp_path / "one beside"):
            folder.mkdir(exist_ok=True)
            (folder / "dvc.yaml").write_text("{params: [params.yaml], metrics: [m.json]}")
            (folder / "dvc.lock").write_text("schema: '2.0'")
            (folder / "params.yaml").write_text(f"{{rate: {2 + is_now}}}")
            (folder / "m.json").write_text(json.dumps({"score": 2 + is_now}))
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "--message", "work")
    monkeypatch.chdir(tmp_path / "one")
    with pipeline.opened() as repo:
        found = compared.review(repo, "HEAD~1")
    assert found.params == [("rate", 2, 3)]
    assert found.metrics == [("m.json", "score", 2, 3, 1)]


def test_what_stages_of_a_users_own_write_is_none_of_the_variants_predictions() -> None:
    written = {"mine": "data/predictions/mine.csv", "evaluate@half": "data/predictions/half.csv"}
    entries = {stage: {"cmd": "", "outs": [{"path": path, "md5": "0"}]} for stage, path in written.items()}
    results = compared._Results(None, None, entries)  # type: ignore[arg-type]
    assert results.predicted == ["data/predictions/half.csv"]
    assert {*results.hashes} == {*written.values()}


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere", "nowhere: no such commit; `git fetch` gets those of a remote"),
        ("--all", "--all: no such commit"),
        ("empty", "empty: has no dvc.lock; name a commit in which `dvc repro` had run"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_base_that_cannot_be_one(base: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        review.main(base)


def test_a_base_may_be_an_experiment_of_which_there_is_but_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "base")
    commit = require_commit("HEAD")
    for of, name in (("12", "odd-name"), ("12", "twice"), ("34", "twice")):
        git(tmp_path, "update-ref", f"refs/exps/{of}/3456/{name}", "HEAD")
    assert require_commit("odd-name") == commit
    for none in ("twice", "odd-*", "*"):
        with pytest.raises(UserError, match="no such commit"):
            require_commit(none)


def test_a_base_that_a_shallow_clone_does_not_have(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", here.folder.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="^HEAD~1: no such commit in this shallow clone; `git fetch --unshallow`"):
        review.main("HEAD~1")


@pytest.mark.parametrize("kept", ["blob:none", "tree:0"])
def test_a_base_of_which_a_partial_clone_lacks_files_is_fetched(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "whole")
    git(tmp_path / "whole", "config", "uploadpack.allowFilter", "true")
    for name in ("old", "new"):
        (tmp_path / "whole" / "data").mkdir(exist_ok=True)
        (tmp_path / "whole" / "data" / "scores.json").write_text(name)
        git(tmp_path / "whole", "add", ".")
        git(tmp_path / "whole", "commit", "--quiet", "--message", name)
    git(tmp_path, "clone", "--quiet", f"--filter={kept}", (tmp_path / "whole").as_uri(), "partial")
    monkeypatch.chdir(tmp_path / "partial")
    (tmp_path / "whole").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"^HEAD~1: this clone, made with --filter, .* `git fetch --refetch"):
        require_commit("HEAD~1")
    (tmp_path / "away").rename(tmp_path / "whole")
    commit = require_commit("HEAD~1")
    (tmp_path / "whole").rename(tmp_path / "away")
    assert require_commit("HEAD~1") == commit
    assert file_at("HEAD~1", "data/scores.json") == b"old"


@pytest.mark.slow
def test_predictions_come_from_the_remote_or_the_review_says_how(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(here.folder), str(clone))
    monkeypatch.chdir(clone)
    review.main("before", md=True)
    text = capsys.readouterr().out
    assert "The predictions were not compared: before: data/predictions/half.csv not in DVC's cache" in text
    # All else is told.
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert ["variants.half.epochs", "1", "2"] in rows
    assert ["metrics/half.json", "test.accuracy", interval(37), interval(27), "-0.25"] in rows  # without a p
    assert "not up to date" not in text
    assert "could not be fetched (there is no remote)" in text
    git(clone, "update-ref", "refs/exps/12/3456/odd-name", require_commit("before"))
    review.main("odd-name")
    (checkout,) = re.findall("get them anew: `(git .*?)`", capsys.readouterr().out)
    git(clone, *checkout.split()[1:])
    assert require_commit("HEAD") == require_commit("before")
    git(clone, "checkout", "--quiet", "-")
    for project in (here, Project(clone, here.python)):
        assert project.dvc("remote", "add", "--local", "--default", "store", str(tmp_path / "store")).code == 0
    review.main("before")
    assert "where they are, `dvc push` them" in capsys.readouterr().out
    assert here.dvc("push", "--all-commits").code == 0
    review.main("before")
    assert "Only right at before: 12; only right here: 2." in capsys.readouterr().out
    pulled = [path for path in (clone / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    assert len(pulled) == 2  # predictions then and now, nothing else


@dataclass
class Given:
    """Results of a commit, as `compared` reads them."""

    said: Predictions
    images: dict[str, str]
    fetch = staticmethod(lambda paths: None)

    @property
    def hashes(self) -> dict[str, str]:
        return {"data/predictions/half.csv": str(self.said), compared.MANIFEST: str(self.images)}

    @property
    def predicted(self) -> list[str]:
        return [path for path in self.hashes if path.startswith(compared.PREDICTIONS)]

    def predictions(self, path: str) -> Predictions:
        return self.said

    def digests(self) -> dict[str, str]:
        return self.images


@pytest.mark.parametrize(
    ("classes", "image", "reason"),
    [
        (["NA", "oak"], "a.png", r"the classes are others than then \(new: oak; no more: 007\)"),
        (["NA", "007"], "a.png", r"the classes are others than then \(in another order\)"),
        (["007", "NA", *"abcdefg"], "a.png", r"others than then \(new: a, b, c, d, e, …\)"),
        (CLASSES, "b.png", "no test image is the same as then"),
        (CLASSES, "a.png", "no test image is the same as then"),
    ],
    ids=["renamed", "reordered", "new", "other images", "other pixels"],
)
def test_why_predictions_cannot_be_compared_is_told(classes: list[str], image: str, reason: str) -> None:
    then = Given(Predictions(["a.png"], np.array([0]), np.array([[0.9, 0.1]]), CLASSES), {"a.png": "digest"})
    said = Predictions([image], np.array([0]), np.full((1, len(classes)), 0.1), classes)
    with pytest.raises(UserError, match=reason):
        compared._compare(then, Given(said, {image: "another"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("groups", "warning"), [(None, ""), (12, "of 12 groups"), (1, "of 1 group:")])
def test_test_images_of_groups_are_told_beside_p_values(groups: int | None, warning: str) -> None:
    labels, metrics = (
        np.arange(20) % 2,
        [("metrics/half.json", "test.groups", groups, groups, 0)] * (groups is not None),
    )
    (pair,) = paired_tests(labels, {"a": np.eye(2)[labels], "b": np.full((20, 2), 0.5)}, [("a", "b")])
    changes = [("metrics/half.json", "test.accuracy", 1.0, 0.5, -0.5), *metrics]
    found = compared.Review([], [], [], changes, 20, [compared.Compared("half", pair, [])], None, [])
    text = "\n".join(review.predictions(found, "main", markdown=True))
    assert ("too narrow and too small" in text) == bool(warning)
    assert warning in text


def test_no_p_is_0() -> None:
    labels, right = np.arange(200) % 2, np.eye(2)[np.arange(200) % 2]
    (pair,) = paired_tests(labels, {"a": right, "b": 1 - right}, [("a", "b")])
    found = compared.Review(
        [],
        [],
        [],
        [("metrics/half.json", "test.accuracy", 1.0, 0.0, -1.0)],
        200,
        [compared.Compared("half", pair, [])],
        None,
        [],
    )
    assert [row[-1] for row in review.scores(found)] == ["< 0.001"]


@pytest.mark.slow
def test_only_images_that_stayed_the_same_are_compared(here: Project, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        give(here, {"half": {2, *range(10, 22)}, "full": {3}}, digests={IMAGES[10]: "another"})
        here.repro()
        review.main("before")
        text = capsys.readouterr().out
        assert "Only right at before: 11; only right here: 2." in text
        assert "on the 39 test images of both" in text
    finally:
        git(here.folder, "checkout", "--quiet", ".")
        assert here.dvc("checkout").code == 0
