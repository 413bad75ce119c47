"""`thaw plan`, on a pipeline of a few shell commands; test_reruns compares it with what the real one runs."""

import contextlib
import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from botocore.exceptions import NoCredentialsError

from commands import leftovers, lock, pipeline, plan, repro
from commands.doctor.remotes import check_secrets
from commands.plan.steps import Action, Kind, Plan, Reason
from commands.plan.steps import plan as plan_steps
from stages.manifest.listing import listing
from tests.conftest import ROOT, Project
from tests.planned import plan_in, repro_as_planned
from tests.stages.test_manifest import draw
from tests.toy import dvc
from thaw.errors import UserError
from thaw.params.dataset import Dataset, Split
from thaw.stage import durations

PIPELINE = """
stages:
  letters:
    cmd: cut -c-${width} raw/text > data/letters
    params: [width]
    deps: [raw/text]
    outs: [data/letters]
  sorted:
    foreach: ${orders}
    do:
      cmd: sort ${item.how} data/letters > data/sorted/${key}
      params: ["orders.${key}"]
      deps: [data/letters, sort.txt]
      outs: ["data/sorted/${key}"]
  all:
    cmd: cat data/sorted/* > all
    deps: [data/sorted]
    outs: [all: {cache: false}]
"""
OF_IMAGES = """
stages:
  tensors:
    foreach: ${tensors}
    do:
      cmd: cat raw/text > ${key}.h5
      params: ["tensors.${key}"]
      deps: [raw]
      outs: ["${key}.h5"]
  features:
    cmd: cat small.h5 code > features.h5
    deps: [small.h5, code]
    outs: [features.h5]
"""
OF_A_USERS_OWN = """
  halves:
    cmd:
    - mkdir -p halves  # don't fail where it is there
    - cp data/letters halves/one && echo 2 > halves/two
    deps: [data/letters]
    outs: [halves]
  first: {cmd: cat halves/one prepared/text > first, deps: [halves/one, prepared/text], outs: [first]}
  second: {cmd: cp halves/two second, deps: [halves/two], outs: [second]}
  within: {cmd: cp letters ../within, wdir: data, deps: [letters], outs: [../within]}
  of_a_file: {cmd: cp other.json of_a_file, params: [other.json: , more.yaml: [width]], outs: [of_a_file]}
  always: {cmd: echo > always, always_changed: true, outs: [always]}
  frozen: {cmd: cp other.json frozen, frozen: true, deps: [other.json], outs: [frozen]}
"""
OTHER_PIPELINES = """
stages:
  text: {cmd: echo > text, deps: [../raw/text], outs: [text]}
"""
PARAMS = {"width": 1, "orders": {"up": {"how": ""}, "down": {"how": "-r"}}}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments], cwd=folder, check=True)


def write_raw(project: Project, text: str) -> None:
    (project.folder / "raw" / "text").write_text(text)


@pytest.fixture(scope="module")
def original(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run and is committed; its raw data are tracked by DVC."""
    folder = tmp_path_factory.mktemp("original") / "a project"
    for name in ("raw", "data/sorted"):
        (folder / name).mkdir(parents=True)
    project = Project(folder, plain)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    assert project.dvc("init", "--quiet").code == 0
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "sort.txt").write_text("sorted by sort\n")
    (folder / ".gitignore").write_text("/data\n")
    project.write_params(PARAMS)
    write_raw(project, "bone\nash\nbeech\n")
    assert project.dvc("add", "--quiet", "raw").code == 0
    project.repro()
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, in which the test runs."""
    shutil.copytree(original.folder, tmp_path / "a project")
    monkeypatch.chdir(tmp_path / "a project")
    return Project(tmp_path / "a project", original.python)


def clone(original: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    git(folder, "clone", "--quiet", str(original.folder), str(folder / "clone"))
    monkeypatch.chdir(folder / "clone")
    return Project(folder / "clone", original.python)


def actions() -> dict[str, str]:
    return {step.stage: step.action for step in plan_in(Path()).steps if step.action is not Action.NOTHING}


def width(value: int) -> Callable[[Project], None]:
    return lambda project: project.write_params({**PARAMS, "width": value})


def unlink(path: str) -> Callable[[Project], None]:
    return lambda project: (project.folder / path).unlink()


def write(path: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        (project.folder / path).unlink()
        (project.folder / path).write_text("something else")

    return change


def empty_the_cache(project: Project) -> None:
    shutil.rmtree(project.folder / ".dvc" / "cache")


def add_stages(project: Project) -> None:
    """Add stages as users write them, some in files of their own, of which the pipeline needs one; run them."""
    for name in ("prepared", "alone"):
        (project.folder / name).mkdir()
        (project.folder / name / "dvc.yaml").write_text(OTHER_PIPELINES)
    (project.folder / "dvc.yaml").write_text(PIPELINE + OF_A_USERS_OWN)
    (project.folder / "other.json").write_text('{"a": 1}')
    (project.folder / "more.yaml").write_text("width: 3")
    (project.folder / "frozen").touch()
    dvc(project, "repro")
    git(project.folder, "add", ".")
    git(project.folder, "commit", "--quiet", "--message", "stages of my own")
    plan.main("HEAD", check=True)
    assert actions() == {"always": "runs"}


def freeze(project: Project) -> None:
    (project.folder / "dvc.yaml").write_text(PIPELINE.replace("  letters:\n", "  letters:\n    frozen: true\n"))


def put(path: str, text: str) -> Callable[[Project], None]:
    return lambda project: (project.folder / path).write_text(text) and None


SORTED = ["sorted@up", "sorted@down"]
ODD: dict[str, tuple[list[Callable[[Project], None]], list[str]]] = {
    "outputs are gone or were changed by hand, the cache has them, except what git keeps": (
        [unlink("data/letters"), write("data/sorted/up"), unlink("all")],
        ["all"],
    ),
    "raw data changed": ([lambda project: write_raw(project, "elm\n")], ["letters", *SORTED, "all"]),
    "raw data changed, results did not": ([lambda project: write_raw(project, "b\na\nb\n")], ["letters"]),
    "the cache is gone": ([empty_the_cache], ["letters", *SORTED]),
    "a command changed, and a dependency was added": (
        [
            lambda project: (project.folder / "dvc.yaml").write_text(
                PIPELINE.replace("cut ", "cut  ").replace("data/letters, sort.txt", "data/letters, raw/text, sort.txt")
            )
        ],
        ["letters", *SORTED],
    ),
    "an entry was added, and a file changed that two stages read": (
        [
            lambda project: project.write_params({**PARAMS, "orders": {**PARAMS["orders"], "random": {"how": "-R"}}}),
            write("sort.txt"),
        ],
        [*SORTED, "sorted@random", "all"],
    ),
    "what a frozen stage wrote was changed, as were its parameters": (
        [freeze, width(2), write("data/letters")],
        [*SORTED, "all"],
    ),
    "what stages of a user's own read, and another pipeline, which this one needs": (
        [add_stages, put("other.json", '{"a": 2}'), put("raw/text", "bone\nash\nbeech\nc")],
        ["prepared/dvc.yaml:text", "letters", *SORTED, "all", "halves", "first", "within", "of_a_file", "always"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_what_is_planned_is_what_runs(name: str, project: Project) -> None:
    changes, expected = ODD[name]
    for change in changes:
        change(project)
    assert sorted(repro_as_planned(project, plan_in(Path())).ran) == sorted(expected)


@pytest.mark.slow
@pytest.mark.parametrize("remote", [False, True])
def test_what_only_dvcs_cache_lacks_need_not_run(
    remote: bool, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if remote:
        dvc(project, "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    empty_the_cache(project)
    stages = ["letters", *SORTED]
    found = plan_in(Path())
    assert found.uncommitted == stages
    assert {step.stage: {one.kind for one in step.reasons} for step in found.steps} == {
        "letters": {Kind.UNCACHED},
        **{name: {Kind.UNCACHED, Kind.AWAITED} for name in SORTED},
        "all": {Kind.AWAITED},
    }
    plan.main()
    told = capsys.readouterr().out
    assert "data/letters is here, but not in DVC's cache" in told
    assert "`dvc commit letters sorted@up sorted@down`" in told
    plan.main(check=True)
    dvc(project, "commit", *stages)
    assert actions() == {}


@pytest.mark.slow
def test_what_ran_before_comes_from_the_run_cache(project: Project) -> None:
    width(2)(project)
    nothing_cached = {"letters": "runs", "sorted@up": "may run", "sorted@down": "may run", "all": "may run"}
    assert actions() == nothing_cached
    repro_as_planned(project, plan_in(Path()))
    width(1)(project)
    entries = {path: path.read_bytes() for path in Path(".dvc/cache/runs").rglob("*") if path.is_file()}
    for damaged in (b"", b"[", b"cmd: echo", b"\xff"):
        for path in entries:
            path.write_bytes(damaged)
        assert actions() == nothing_cached
    for path, content in entries.items():
        path.write_bytes(content)
    cached = "from DVC's cache"
    # DVC's run cache has nothing of a stage that git keeps the result of.
    assert actions() == {"letters": cached, "sorted@up": cached, "sorted@down": cached, "all": "runs"}
    repro_as_planned(project, plan_in(Path()))


def test_a_fresh_clone_needs_nothing(
    original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned = clone(original, tmp_path, monkeypatch)
    assert cloned.dvc("remote", "add", "--local", "--default", "store", str(tmp_path / "store")).code == 0
    assert actions() == {}
    (cloned.folder / "sort.txt").write_text("changed")
    plan.main()
    told = capsys.readouterr().out
    assert "`dvc pull data/letters`" in told
    assert "the command is `dvc repro --pull --allow-missing`" in told
    assert "1 of 4 stages stays as it is." in told
    # Where there is no remote, nothing is known to come from one.
    assert cloned.dvc("remote", "remove", "--local", "store").code == 0
    assert actions()["letters"] == "runs"


def test_the_rest_of_a_folder_has_to_be_pulled_where_a_part_of_it_is_here(project: Project) -> None:
    """DVC takes the folder for changed, also where what is left in it is but a file that Git keeps."""
    Path("data/sorted/README").touch()
    dvc(project, "repro")
    for gone in (["data/sorted/up"], ["data/sorted/down", "data/sorted/up"]):
        for path in gone:
            Path(path).unlink()
        assert (plan.command(plan_in(Path())), plan_in(Path()).fetched) == ("dvc repro --allow-missing", gone)
        dvc(project, "pull", *gone)
        assert actions() == {}


def test_what_has_a_remote_of_its_own_may_be_there_without_a_default_one(project: Project) -> None:
    Path("dvc.yaml").write_text(PIPELINE.replace("[data/letters]\n  s", "[data/letters: {remote: own}]\n  s"))
    Path("data/letters").unlink()
    shutil.rmtree(".dvc/cache")
    assert [*actions()] == ["sorted@up", "sorted@down", "all"]  # which the cache lacks


@pytest.mark.parametrize(("keep", "read"), [(True, []), (False, ["raw"])])
def test_features_of_pixels_that_are_not_kept_need_the_images(
    keep: bool, read: list[str], plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, plain)
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    write_raw(project, "ash\n")
    Path("dvc.yaml").write_text(OF_IMAGES)
    Path("code").write_text("some")
    project.write_params({"dataset": {"path": "./raw/"}, "tensors": {"small": {"keep": keep}}})
    for command in ("init --quiet --no-scm", "add --quiet raw", "repro --quiet", "remote add --default store store"):
        dvc(project, *command.split())
    shutil.rmtree("raw")
    Path("code").write_text("other")
    planned = plan_in(Path())
    assert [(step.stage, step.action) for step in planned.steps] == [("tensors@small", "nothing"), ("features", "runs")]
    assert planned.fetched == read


def test_whether_a_lock_is_up_to_date_can_be_checked_without_its_results(
    original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned = clone(original, tmp_path, monkeypatch)
    plan.main(check=True)
    assert "4 of 4 stages stay as they are." in capsys.readouterr().out
    params = cloned.params.read_text()
    width(2)(cloned)
    with pytest.raises(UserError, match=r"dvc\.lock is not up to date for letters, sorted@up, sorted@down, all; "):
        plan.main(check=True)
    assert "width: 1 → 2" in capsys.readouterr().out
    cloned.params.write_text(params)
    (cloned.folder / "all").write_text("what git keeps is none of DVC's business, except that it is a result")
    with pytest.raises(UserError, match=r"dvc\.lock is not up to date for all; "):
        plan.main(check=True)


@pytest.mark.slow
def test_a_result_of_the_run_cache_may_have_to_be_pulled(project: Project, tmp_path: Path) -> None:
    width(2)(project)
    project.repro()
    width(1)(project)
    project.repro()
    width(2)(project)
    assert project.dvc("remote", "add", "--local", "--default", "store", str(tmp_path / "store")).code == 0
    shutil.rmtree(project.folder / ".dvc" / "cache" / "files" / "md5")
    assert actions()["letters"] == "from the remote"


def test_what_is_read_from_the_web_is_a_dependency_as_others(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Path("raw", "text")
    handler = partial(SimpleHTTPRequestHandler, directory=str(served.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/text"
        Path("dvc.yaml").write_text(f"stages:\n  kept: {{cmd: echo > kept, deps: ['{address}'], outs: [kept]}}\n")
        dvc(project, "repro")
        assert "md5" not in lock.stages_now()["kept"]["deps"][0]
        assert actions() == {}
        served.write_text("another text")
        assert actions() == {"kept": "runs"}
        server.shutdown()

    def refuse(*arguments: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr("dvc_http.HTTPFileSystem.exists", refuse)
    for command in (plan.main, lambda: repro.main(1)):
        with pytest.raises(UserError, match=r"^what dvc\.yaml reads .* cannot be read: Unable to locate credentials; "):
            command()


def test_reasons_in_words(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.write_params({"width": 2, "orders": {"up": {"how": "-f"}, "new": {"how": ""}}})
    plan.main()
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "stage because",
        "letters runs its command in dvc.yaml changed",
        "width: 1 → 2",
        "sorted@up runs its command in dvc.yaml changed",
        'orders.up.how: "" → "-f"',
        "sorted@new runs is new",
        "all may run if data/sorted/new changes (by sorted@new)",
        "if data/sorted/up changes (by sorted@up)",
        "",
        "0 of 4 stages stay as they are.",
        "Time, as when they last ran here: unknown for letters, sorted@up, sorted@new, all.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (1e-6, None, "1e-06 → none"),
        ([{"Dense": {"units": 9}}] * 9, [*[{"Dense": {"units": 9}}] * 8, "Flatten"], '{"Dense": {"units": 9}}] → …'),
        ("a" * 99, "b", f'"{"a" * 58}… → "b"'),
        (date(2024, 1, 1), date(2025, 1, 1), '"2024-01-01" → "2025-01-01"'),
    ],
)
def test_of_long_values_what_differs_is_told(old: object, new: object, told: str) -> None:
    assert told in plan.says_why(Reason(Kind.PARAMETER, "head", old, new))


def test_what_a_frozen_stage_wrote_and_is_gone_has_to_be_pulled(project: Project) -> None:
    freeze(project)
    unlink("data/letters")(project)
    planned = plan_in(Path())
    assert ({step.action for step in planned.steps}, planned.incomplete) == ({Action.NOTHING}, True)
    project.repro("--pull", "--allow-missing")


def test_why_a_stage_runs_is_told_where_a_commit_gives_no_reason(project: Project) -> None:
    empty_the_cache(project)
    for path in ("data/letters", "data/sorted/up"):
        unlink(path)(project)
    with pipeline.opened() as repo:
        steps = plan_steps(repo, lock.stages_at("HEAD")).steps
    assert all(plan.certain_reasons(step) for step in steps if step.action is Action.RUN)


def test_reasons_since_a_commit(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    width(2)(project)
    project.repro()
    git(project.folder, "commit", "--quiet", "--all", "--message", "wider")
    plan.main("HEAD~1", "md")
    told = capsys.readouterr().out
    assert "| letters | has run | its command in dvc.yaml changed<br>width: 1 → 2 |" in told
    assert "| sorted@up | has run | data/letters changed (by letters) |" in told
    assert "| all | has run | data/sorted changed |" in told


def test_a_command_that_pulls_can_be_copied() -> None:
    told = plan.plan_as_text(
        Plan([], ["data/raw/my photos"], [], [], incomplete=True, has_remote=True), {}, markdown=False
    )
    assert "`dvc pull 'data/raw/my photos'`" in told


def test_a_plan_for_programs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    width(2)(project)
    plan.main(form="json")
    tree = json.loads(capsys.readouterr().out)
    assert tree["command"] == "dvc repro"
    letters = tree["stages"][0]
    assert (letters["stage"], letters["action"], letters["seconds"]) == ("letters", "runs", None)
    assert {"kind": "parameter", "name": "width", "old": 1, "new": 2, "stage": None} in letters["reasons"]


def test_times_are_those_of_the_last_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".thaw").mkdir()
    known = "sort data/letters > data/sorted/up,100.0\n" + "sort data/letters > data/sorted/up,200.0\n"
    Path(".thaw", "durations.csv").write_text(known)
    assert durations() == {("sort", "data/letters", ">", "data/sorted/up"): 200.0}
    write("sort.txt")(project)
    plan.main()
    told = capsys.readouterr().out
    assert "Time, as when they last ran here: 3 min for what runs; unknown for sorted@down, all." in told


@pytest.mark.slow
def test_a_stages_time_is_not_longer_than_it_took(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.digits", "--folder", str(tmp_path / "digits")]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env={**os.environ, "THAW_CACHE": str(tmp_path)}, check=True)
    took = time.perf_counter() - began
    ((*_, seconds),) = csv.reader((tmp_path / "durations.csv").open(encoding="utf-8"))
    assert 0 < float(seconds) < took + 0.1


def test_what_a_plan_cannot_be_made_of(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere: no such commit"):
        plan.main("nowhere")
    pipeline = Path("dvc.yaml").read_text()
    for added, told in (
        ("  mine: {cmd: ls, out: [x]}", r"extra keys not allowed, in stages -> mine -> out"),
        ("  mine: [ls", r".*expected ',' or '\]'.*, in line \d+"),
    ):
        Path("dvc.yaml").write_text(f"{pipeline}{added}\n")
        with pytest.raises(UserError, match=rf"dvc\.yaml.*\n  {told}"):
            plan.main()
    Path("dvc.yaml").write_text(pipeline)
    text = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> theirs\n")
    with pytest.raises(UserError, match=r"dvc\.lock"):
        plan.main()


@pytest.mark.slow
def test_nobody_has_to_read_on() -> None:
    command = f"{shlex.quote(sys.executable)} -m commands plan --json | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, text=True, capture_output=True, check=True)
    assert "Traceback" not in done.stderr


# Data sets: DVC, the plan and what reads images have to agree

DATASET = Dataset(path="raw/set", layout="class_folders", split=Split(method="stable", test=0.2, validation=0.2))


def with_data(project: Project, path: str) -> Path:
    """Have a project's one stage read a folder of two classes; return the folder."""
    for label in ("ash", "elm"):
        for number in range(3):
            draw(project.folder / "raw" / "set" / label / f"{number}.png", f"{label} {number}")
    text = f'stages:\n  list:\n    cmd: ls "{path}" > listed\n    deps: ["{path}"]\n    outs: [listed]\n'
    (project.folder / "dvc.yaml").write_text(text)
    for name in ("dvc.lock", "raw.dvc", ".gitignore"):
        (project.folder / name).unlink()
    return project.folder / "raw" / "set"


@pytest.mark.parametrize(
    "path",
    [
        "raw/set",
        "raw/set/",
        "./raw/set",
        "raw//set",
        "raw/../raw/set",
        "{project}/raw/set",
        "{project}/../set",
        "../set",
    ],
)
def test_a_data_set_may_be_spelled_in_any_way(project: Project, path: str) -> None:
    folder = with_data(project, path.format(project=project.folder))
    shutil.copytree(folder, project.folder.parent / "set")
    dvc(project, "repro")
    assert actions() == {}
    for base in (folder, project.folder.parent / "set"):
        draw(base / "ash" / "3.png", "new")
    ((reason,),) = (step.reasons for step in plan_in(Path()).steps)
    assert (reason.kind, reason.name) == (Kind.FILE, "../set" if "../set" in path else "raw/set")
    assert reason.old != reason.new


def test_class_folders_may_be_tracked_each_by_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_data(project, "raw/set")
    shutil.copy(ROOT / "data" / "raw" / ".gitignore", "raw")
    dvc(project, "add", "raw/set/ash", "raw/set/elm")
    dvc(project, "repro")
    assert actions() == {}
    git(project.folder, "add", ".")
    git(project.folder, "commit", "--quiet", "--message", "classes")
    copy = clone(project, project.folder.parent, monkeypatch)
    dvc(copy, "remote", "add", "--default", "store", str(project.folder / ".dvc" / "cache"))
    assert not (copy.folder / "raw/set/ash").exists()
    assert actions() == {}
    assert plan_in(Path()).fetched == ["raw/set/ash", "raw/set/elm"]  # the folder is here, with Git's files
    monkeypatch.chdir(project.folder)
    draw(folder / "ash" / "new.png", "new")
    assert [*actions()] == ["list"]
    dvc(project, "repro")
    assert actions() == {}


def edited_behind(kind: str, folder: Path) -> Path:
    """Put something into a data set, and return the file that it comes from."""
    elsewhere, place = folder.parents[1].parent / "elsewhere", folder / "ash" / "more"
    file = draw(elsewhere / "far.png", "far")
    if kind == "a file":
        return draw(folder / "ash" / "3.png", "3")
    if kind == "a link to a file":
        place.symlink_to(file)
    if kind == "a link to a folder":
        place.symlink_to(elsewhere)
    if kind == "a link as a class":
        (folder / "oak").symlink_to(elsewhere)
    if kind == "a link as the data set":
        folder.rename(elsewhere / "set")
        folder.symlink_to(elsewhere / "set")
        return elsewhere / "set" / "ash" / "0.png"
    if kind == "a DVC project":
        (place / ".dvc").mkdir(parents=True)
        return draw(place / "near.png", "near")
    return file


SEEN = ("a file", "a link to a file", "a link as the data set")


@pytest.mark.parametrize("kind", [*SEEN, "a link to a folder", "a link as a class", "a DVC project"])
def test_what_dvc_does_not_see_change_is_refused(project: Project, kind: str) -> None:
    folder = with_data(project, "raw/set")
    file = edited_behind(kind, folder)
    dvc(project, "repro")
    draw(file, "changed")
    assert (actions() != {}) == (kind in SEEN)
    if kind in SEEN:
        assert file.resolve() in {(folder / one.path).resolve() for one in listing(folder, DATASET).images}
    else:
        with pytest.raises(UserError, match="DVC"):
            listing(folder, DATASET)


def test_links_into_dvcs_cache_are_files_as_any(project: Project) -> None:
    folder = with_data(project, "raw/set")
    before = listing(folder, DATASET)
    for command in ("repro", "add raw/set", "config cache.type symlink", "checkout --relink --force", "repro"):
        dvc(project, *command.split())
    assert (folder / "ash" / "0.png").is_symlink()
    assert listing(folder, DATASET) == before
    assert actions() == {}


@pytest.mark.slow
def test_pipelines_of_other_folders_count_where_they_make_what_is_read(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a repository of several projects."""
    for name, text in (("prep", "made: {cmd: cp in out, deps: [in], outs: [out]}"), ("b", "never: {cmd: 'false'}")):
        Path(name).mkdir()
        Path(name, "dvc.yaml").write_text(f"stages: {{{text}}}")
    Path("prep/in").write_text("1")
    with Path("dvc.yaml").open("a") as file:
        file.write("  reads: {cmd: cp out ../read, wdir: prep, deps: [out], outs: [../read]}\n")
    assert actions() == {"prep/dvc.yaml:made": "runs", "reads": "runs"}
    repro_as_planned(project, plan_in(Path()))
    assert actions() == {}
    plan.main(check=True)
    Path("prep/in").write_text("2")
    assert actions() == {"prep/dvc.yaml:made": "runs", "reads": "may run"}
    project.repro()
    Path("prep/in").write_text("1")
    assert actions() == {"prep/dvc.yaml:made": "from DVC's cache", "reads": "from DVC's cache"}


def test_a_repository_of_dvc_may_be_that_of_a_folder_above(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(".dvc", tmp_path)
    shutil.move(".git", tmp_path)
    locks = tmp_path / ".dvc/tmp/rwlock"
    locks.write_text('{"a": ')
    with pipeline.opened() as repo:
        assert leftovers.damaged(repo) == ["../.dvc/tmp/rwlock"]
        assert check_secrets(repo).text == "none in ../.dvc/config"
    leftovers.remove_leftovers()
    assert not locks.exists()
    assert actions() == {}
    (tmp_path / "dvc.yaml").write_text("stages: {never: {cmd: 'false'}}")
    plan.main(check=True)


def test_what_was_imported_may_have_the_same_path_where_it_came_from(project: Project, tmp_path: Path) -> None:
    """And need not be there any more."""
    source = tmp_path / "source"
    shutil.copytree(project.folder, source)
    for path in (Path("raw"), Path("raw.dvc")):
        path.rename(tmp_path / path)
    dvc(project, "import", "--quiet", str(source), "raw", "--out", "raw")
    source.rename(tmp_path / "elsewhere")
    assert actions() == {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        repro.main(1)
    assert "Data and pipelines are up to date." in printed.getvalue()


def test_data_that_are_gone_are_told_of_where_nothing_runs(project: Project) -> None:
    git(project.folder, "rm", "--quiet", "sort.txt")
    planned = plan_in(Path())
    assert (plan.command(planned), planned.missing) == ("dvc repro --allow-missing", [])
    project.repro("--allow-missing")


def test_no_command_is_named_that_needs_a_remote_where_there_is_none(project: Project) -> None:
    """With `--pull` DVC fails, as soon as a result is in the run cache."""
    before, other = (project.folder / "sort.txt").read_text(), "changed"
    for text in (other, before):
        (project.folder / "sort.txt").write_text(text)
        project.repro()
    (project.folder / "sort.txt").write_text(other)
    shutil.rmtree(project.folder / "raw")
    planned = plan_in(Path())
    assert plan.command(planned) == "dvc repro --allow-missing"
    assert project.repro("--allow-missing").ran == []
