"""The check of params.yaml: every mistake is found before anything runs, and said in words."""

import copy
import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.check import __main__ as check_stage
from stages.check import trials
from stages.check.checking import SECTIONS, SINGLE, check_params
from tests.stages.check_cases import DEFAULT, DEFAULTS, EVERYTHING, FILES, RIGHT, ROOT, SHARES, Tree, edited
from tests.stages.check_mistakes import MISTAKES
from tests.stages.conftest import lines_of
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS, Row, write_manifest
from thaw.params.dataset import Dataset, Split
from thaw.params.reading import read_entry, read_yaml
from thaw.params.variants import Solver, Training, Variant
from thaw.reuse.folder import FOLDER
from thaw.suggestions import did_you_mean


@pytest.mark.parametrize("path", [DEFAULT, *sorted((ROOT / "recipes").glob("*.yaml"))], ids=lambda path: path.name)
def test_what_the_repository_offers_passes(path: Path) -> None:
    assert lines_of(path) == []


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and augmentations are tried where Keras is loaded already, not each in a process of its own."""

    def run(command: list[str], input: str, **options: Any) -> subprocess.CompletedProcess[str]:
        from stages.check.trial import trial_problems  # which imports Keras: only where something is to be tried

        found = [list(trial_problems(**entry)) for entry in json.loads(input)]
        return subprocess.CompletedProcess(command, 0, json.dumps(found))

    monkeypatch.setattr("stages.check.trials.subprocess", SimpleNamespace(run=run))


PARAMS = MISTAKES | {name: (edits, []) for name, edits in RIGHT.items()}


def test_a_layer_that_jax_cannot_compile_is_named_where_jax_is_set(
    errors: Callable[[Tree], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = edited({"variants.full.augmentation": ["RandomFlip", "RandomElasticTransform"]})
    assert errors(layers) == []
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert errors(layers) == [
        "variants.full.augmentation.1: JAX cannot compile RandomElasticTransform: set KERAS_BACKEND=tensorflow, or "
        "leave it out"
    ]


@pytest.mark.parametrize(("edits", "expected"), PARAMS.values(), ids=PARAMS)
def test_a_mistake_is_found_and_nothing_else(
    edits: Tree, expected: list[str], errors: Callable[[Tree], list[str]]
) -> None:
    assert errors(edited(edits)) == expected


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_said(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        check_params(path)
    assert str(raised.value).startswith(f"{path}{message}")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml: no such file; copy one from recipes/ or restore it with git$"):
        check_params(tmp_path / "gone.yaml")


def test_a_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r": cannot be read: a folder, where a file is expected; give the path of a params file$"
    ):
        check_params(tmp_path)


def test_an_exponent_makes_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: 1e-4\nb: 5E3\nc: yes\n", encoding="utf-8")
    assert read_yaml(path) == {"a": 0.0001, "b": 5000.0, "c": "yes"}


def test_an_entry_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT.read_text(encoding="utf-8").replace("top_k: 3", "top_k: none"), encoding="utf-8")
    assert read_entry(path, "variants.half", Variant).start == "variants/frozen_head"


@pytest.mark.parametrize(
    ("address", "message"),
    [("variants.hal", "variants.hal: there is no such entry"), ("variants.half.fit", "variants.half.fit.start: ")],
)
def test_an_entry_that_cannot_be_read_is_said(address: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_entry(DEFAULT, address, Variant)
    assert str(raised.value).startswith(f"{DEFAULT}: {message}")


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a tree."""
    if path:
        yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*path, key))


def around(tree: Tree, path: tuple[Any, ...]) -> Any:
    """Return the mapping or list in which the end of a path stands."""
    node: Any = tree
    for step in path[:-1]:
        node = node[step]
    return node


def test_a_path_is_one_folder_to_dvc_and_the_system(
    errors: Callable[[Tree], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "linked").symlink_to(tmp_path / "disk" / "inner")
    (tmp_path / "shortcut").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    assert errors(edited({"dataset.path": "data/raw/linked"})) == []
    (problem,) = errors(edited({"dataset.path": "data/raw/linked/../photos"}))
    assert problem.endswith("another folder to DVC than to the system: write 'data/raw/photos'")
    (problem,) = errors(edited({"dataset.path": "shortcut/tensors"}))
    assert "the pipeline writes there" in problem


def test_every_key_of_every_schema_is_among_what_is_varied(errors: Callable[[Tree], list[str]]) -> None:
    assert errors(EVERYTHING) == []
    waiting: list[tuple[Any, list[Any]]] = [
        (schema, [EVERYTHING[section]] if section in SINGLE else list(EVERYTHING[section].values()))
        for section, schema in SECTIONS.items()
    ]
    fits = [variant["fit"] for variant in EVERYTHING["variants"].values()]
    waiting += [
        (Solver, [fit for fit in fits if "solver" in fit]),
        (Training, [fit for fit in fits if "epochs" in fit]),
    ]
    waiting += [(Split, [EVERYTHING["dataset"]["split"], SHARES])]
    for schema, entries in waiting:
        assert {key for entry in entries for key in entry} == set(schema.model_fields)


def test_a_note_that_cannot_be_looked_for_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in the folder of another user's, who lets nobody in: what is kept there is not needed."""

    def refuse(path: Path) -> bool:  # as the system does; it lets root in, and tests may run as root
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(Path, "exists", refuse)
    assert not trials._has_passed({}, "code")


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Keras has to say is not asked: that takes longer, and only what is right gets there."""
    monkeypatch.setattr("stages.check.checking.tried", lambda valid: ())


@pytest.mark.usefixtures("untried")
def test_whatever_a_key_is_it_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in places(EVERYTHING):
        original = around(EVERYTHING, path)
        if isinstance(original, list):
            continue
        for key in (None, 3, True, 1.5, date(2024, 5, 1), (1, 2), "", "size", "a.b", "a\nb"):
            if path[-2:-1] in (("class_weight",), ("learning_rate_factors",)) and key in ("", "a.b", "a\nb"):
                continue  # a class's or a layer's name
            tree = copy.deepcopy(EVERYTHING)
            node = around(tree, path)
            node[key] = node.pop(path[-1])
            monkeypatch.setattr("stages.check.checking.read_yaml", lambda path, tree=tree: tree)
            with pytest.raises(UserError):
                check_params(DEFAULT)


@pytest.mark.usefixtures("untried")
def test_whatever_stands_anywhere_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy.deepcopy(EVERYTHING)
    monkeypatch.setattr("stages.check.checking.read_yaml", lambda path: tree)
    refused = passed = 0
    for path in list(places(tree)):
        node = around(tree, path)
        original = node[path[-1]]
        for value in (None, 3, -1, 1.5, True, "x", "", [], {}, [1], {"a": 1}, {"A": {}}, {3: 4}, [[]], float("nan")):
            node[path[-1]] = value
            try:
                check_params(DEFAULT)
                passed += 1
            except UserError:
                refused += 1
            node[path[-1]] = original
    check_params(DEFAULT)
    assert refused > 5 * passed > 0


def test_the_stage_fails_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULT.read_text(encoding="utf-8").replace("top_k: 3", "top_k: 0"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.check", "--params", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {path}: 1 error, nothing was run\n  evaluation.top_k: expected a number not below 2, got 0\n"
    )


WITHOUT_WARM_UP = {f"variants.{name}.fit.optimizer": "Adam" for name in ("half", "full")}
"""The default one is longer than a training on a few images."""


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
def test_folds_are_checked_against_the_manifest(tmp_path: Path, grouped: bool) -> None:
    rows = [
        Row(f"{label}/{number}.png", label, split, "0" * 64, f"{label} {number // 6}" if grouped else "")
        for label, count in (("fig", 4), ("kiwi", 9))
        for number in range(count * (6 if grouped else 1))
        for split in [SPLITS[number % 3]]
    ]
    write_manifest(tmp_path / "manifest.csv", rows, Dataset.model_validate(edited({})["dataset"]).digest)
    for folds in (2, 4, 5, 9):
        of_head = {"start": "backbones/lite0", "inputs": "features/bottleneck"}
        params = edited(WITHOUT_WARM_UP | {"cross_validation.frozen_head": of_head | {"folds": folds}})
        with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(params, file)
        check_stage.main(tmp_path / "params.yaml")
        if folds <= 4:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
            continue
        apart, has = ("groups of images", "24 images in 4 groups") if grouped else ("images", "4 images")
        with pytest.raises(UserError) as caught:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
        assert str(caught.value) == (
            f"cross_validation.frozen_head.folds: {folds} folds need {folds} {apart} of each class, and class 'fig' "
            f"has {has}: at most 4 folds are possible; or add images, or leave cross_validation.frozen_head out"
        )


def test_classes_that_have_weights_are_checked_against_the_manifest(tmp_path: Path) -> None:
    rows = [Row(f"{label}.png", label, "train", "0" * 64) for label in ("fig", "kiwi")]
    write_manifest(tmp_path / "manifest.csv", rows, Dataset.model_validate(edited({})["dataset"]).digest)
    for weights, said in (
        ({"fig": 2.0}, None),
        ("balanced", None),
        ({"fig": 2.0, "kiwwi": 1.0}, "variants.half.fit.class_weight: there is no class 'kiwwi'; did you mean 'kiwi'?"),
    ):
        with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(edited(WITHOUT_WARM_UP | {"variants.half.fit.class_weight": weights}), file)
        with pytest.raises(UserError, match=re.escape(said)) if said else nullcontext():
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")


def test_steps_are_checked_against_the_manifest(tmp_path: Path) -> None:
    """A warm-up that fits a large data set is longer than the whole training on a small one: all such are listed."""
    rows = [Row(f"{number}.png", "fig", "train" if number < 66 else "test", "0" * 64) for number in range(99)]
    write_manifest(tmp_path / "manifest.csv", rows, Dataset.model_validate(edited({})["dataset"]).digest)
    cosine = {"initial_learning_rate": 0.0, "warmup_target": 5e-4, "warmup_steps": 40}
    adam = {"Adam": {"learning_rate": {"CosineDecay": cosine}}}
    for epochs in (14, 13):  # of 3 batches
        fit = {"epochs": epochs, "batch_size": 32, "optimizer": adam}
        with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(edited({"variants.half.fit": fit, "variants.full.fit": fit}), file)
        if epochs == 14:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
            continue
        with pytest.raises(UserError) as caught:
            check_stage.main(tmp_path / "params.yaml", tmp_path / "manifest.csv")
        place, problem = "fit.optimizer.Adam.learning_rate.CosineDecay.warmup_steps", "40, but the training has only 39"
        assert str(caught.value).splitlines() == [
            f"{tmp_path / 'params.yaml'}: 2 errors, nothing was run",
            *(
                f"  variants.{name}.{place}: {problem} steps: make it smaller, or add epochs"
                for name in ("half", "full")
            ),
        ]


def test_what_is_tried_needs_no_gpu(
    errors: Callable[[Tree], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """JAX would look for the one that a machine is set to, and end, since there is none to be seen."""
    found: dict[str, str] = {}

    def run(command: list[str], env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
        found.update(env)
        return subprocess.CompletedProcess(command, 0, "[[]]")

    monkeypatch.setattr("stages.check.trials.subprocess", SimpleNamespace(run=run))
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setenv("THAW_CACHE", str(tmp_path))
    assert errors(edited({"variants.half.fit.optimizer": {"Muon": {"rms_rate": 0.3}}})) == []
    assert (found["JAX_PLATFORMS"], found["CUDA_VISIBLE_DEVICES"]) == ("cpu", "-1")


def test_checking_imports_nothing_that_takes_long() -> None:
    program = (
        "import sys; from pathlib import Path; from stages.check.__main__ import main; main(Path('params.yaml')); "
        "print(sorted({'keras', 'tensorflow', 'numpy', 'scipy', 'sklearn'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_each_section_of_the_default_is_known() -> None:
    assert list(DEFAULTS) == list(SECTIONS)


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("ADAM", ["Adam", "Adamax"], "; did you mean 'Adam'?"),
        ("adam", ["adam", "Adam"], "; did you mean 'adam'?"),
        ("zzz", ["Adam"], ""),
        (3, [True, None, "3"], "; did you mean '3'?"),
        ("S\u00fc\u00df", ["fig", "Su\u0308\u00df"], r'; did you mean "Su\u0308\xdf", which looks the same?'),
        ("Su\u0308\u00df", ["S\u00fc\u00df"], r'; did you mean "S\xfc\xdf", which looks the same?'),
    ],
)
def test_the_nearest_word_is_suggested(word: object, known: list[object], said: str) -> None:
    assert did_you_mean(word, known) == said
