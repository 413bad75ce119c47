"""`dataset`: where the images are, and how they are split."""

import hashlib
import os
import posixpath
from itertools import permutations
from pathlib import PurePath, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from thaw.params.labels import alike, unreadable
from thaw.params.reading import Entry, Seed

Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]
# Where the pipeline and its tools write; data sets are below data/raw.
WRITTEN = (
    *(f"data/{name}" for name in ("features", "history", "label_issues", "mistakes", "per_class", "predictions")),
    *("data/reliability", "data/seeds", "data/suspected", "data/tensors", "data/validation"),
    *("dvc_plots", "exports", "metrics", "models", ".dvc", ".git", ".thaw"),
)


class Folders(Entry):
    """The folders of splits that are given, below the data set's folder."""

    train: Name
    """Folder of images to train on."""
    validation: Name | None = None
    """Folder of images for choices; without it, `split.validation` is their share of the training images."""
    test: Name
    """Folder of images that are scored."""

    @model_validator(mode="after")
    def are_folders_of_their_own(self) -> "Folders":
        given = {split: name for split in ("train", "validation", "test") if (name := getattr(self, split))}
        for split, name in given.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(
                    f"{split}: {name!r} is not below dataset.path; expected a path relative to that folder"
                )
            if "\\" in name:
                raise ValueError(f"{split}: write {name.replace(chr(92), '/')!r}, with / between folders")
        for (split, name), (other, inside) in permutations(given.items(), 2):
            if PurePosixPath(name) == PurePosixPath(inside):
                raise ValueError(f"{split} and {other} are the same folder, {name!r}: give each split one of its own")
            if PurePosixPath(inside).is_relative_to(name):
                raise ValueError(f"{other} ({inside!r}) lies in {split} ({name!r}): give each split one of its own")
        return self


class Split(Entry):
    """Which images are for training, which for choices, and which are scored."""

    method: Literal["stratified", "shuffled", "stable", "given"]
    """`stratified`: at random within each class. `shuffled`: at random, as scikit-learn's `train_test_split` does it.
    `stable`: by a hash of each image and its class, so that images that are added later move no other; images that
    belong together go with that one of them whose bytes have the least hash, so that one that joins them later may move
    them.
    `given`: by folders, by a column of the table or by the arrays' names; `npy` has no other."""
    folders: Folders | None = None
    """Folders of the splits: with `given`, where the layout is `class_folders` or `label_prefix`, and only there."""
    test: Share | None = Field(default=None, validate_default=True)
    """Share of all images that are scored; left out where splits are given, and only there."""
    validation: Share | None = Field(default=None, validate_default=True)
    """Share of all images for choices; where splits are given, of those for training, unless it is given too."""
    seed: Seed = 0
    """Seed of what is random, and of the hash of `stable`."""

    @field_validator("folders")
    @classmethod
    def folders_are_given(cls, folders: Folders | None, others: ValidationInfo) -> Folders | None:
        if folders and others.data.get("method", "given") != "given":
            raise ValueError("folders go with method: given")
        return folders

    @field_validator("test")
    @classmethod
    def test_is_a_share_or_given(cls, test: float | None, others: ValidationInfo) -> float | None:
        if (test is None) != (others.data.get("method", "given" if test is None else "") == "given"):
            raise ValueError("this key is missing" if test is None else "the test split is given: leave test out")
        return test

    @field_validator("validation")
    @classmethod
    def leaves_some_for_training(cls, validation: float | None, others: ValidationInfo) -> float | None:
        folders = others.data.get("folders")
        if validation is None:
            if others.data.get("method", "given") != "given" or (folders and not folders.validation):
                raise ValueError("this key is missing")
        elif folders and folders.validation:
            raise ValueError("folders.validation gives the validation split: leave one of them out")
        elif (others.data.get("test") or 0) + validation >= 1:
            raise ValueError("test and validation together must be below 1, to leave some for training")
        return validation


class Dataset(Entry):
    path: str = Field(pattern=r'^[^-"$`\\\p{C}][^"$`\\\p{C}]*$')
    """The folder of the images, none that the pipeline writes to. Archives in it, `*.zip` and `*.tar`, are read as if
    they were unpacked where they are (docs/archives.md). dvc.yaml puts it between double quotes in a shell command: it
    cannot hold `"`, `$`, a backtick, a backslash or control characters, nor begin with `-`."""
    layout: Literal["class_folders", "label_prefix", "csv", "npy"]
    """`class_folders`: one folder per class. `label_prefix`: files named `<class id>_…`. `csv`: a table `labels.csv`.
    `npy`: arrays `train_images.npy` and so on."""
    classes: Annotated[list[Name], Field(min_length=2)] | None = Field(default=None, validate_default=True)
    """Names of the class ids 0, 1, …: `label_prefix` needs them, `npy` may have them, the others have names already."""
    on_bad_image: Literal["fail", "skip"] = "fail"
    """Stop at files that cannot be used, with a list of them, or leave them out and list them in data/skipped.csv."""
    near_duplicates: Annotated[int, Field(ge=0, le=32)] | None = None
    """Images whose perceptual hashes of 64 bits differ in no more bits are kept in one split; by default, none are
    compared."""
    split: Split
    """What each image is for."""

    @property
    def digest(self) -> str:
        """SHA-256 of what a manifest is made by, wherever the images lie; of no bad one, nothing is written."""
        return hashlib.sha256(self.model_dump_json(exclude={"path", "on_bad_image"}).encode()).hexdigest()

    @field_validator("path")
    @classmethod
    def is_one_folder_to_all(cls, path: str) -> str:
        """The shell, DVC and Python take it for the same folder."""
        plain = posixpath.normpath(path)
        if "://" in path:
            raise ValueError("expected a folder; `dvc import-url` fetches what is elsewhere")
        if path.startswith("~"):
            raise ValueError("~ is not replaced by your home folder: write that out")
        if os.path.realpath(path) != os.path.realpath(plain):
            raise ValueError(f"behind a link, .. is another folder to DVC than to the system: write {plain!r}")
        return path

    @field_validator("path")
    @classmethod
    def is_not_where_outputs_go(cls, path: str) -> str:
        real, *written = (PurePath(os.path.realpath(one)) for one in (path, *WRITTEN))
        holds = any(one.is_relative_to(real) for one in (*written, PurePath(os.path.realpath("data/raw"))))
        if holds or any(real.is_relative_to(one) for one in written):
            raise ValueError(
                "the pipeline writes there: give the images a folder of their own, such as data/raw/<name>"
            )
        return path

    @field_validator("classes")
    @classmethod
    def name_ids(cls, classes: list[str] | None, others: ValidationInfo) -> list[str] | None:
        layout = others.data.get("layout")
        if classes is None and layout == "label_prefix":
            raise ValueError("files tell the number of their class: list the names in the order of the numbers")
        if classes and layout in ("class_folders", "csv"):
            raise ValueError(
                f"the names come from the {'folders' if layout == 'class_folders' else 'table'}: leave it out"
            )
        if classes and len(set(classes)) < len(classes):
            raise ValueError("a name is there twice")
        for group in alike(classes or []):
            raise ValueError(f"{' and '.join(map(repr, group))} look the same: give each class a name of its own")
        for name in classes or []:
            if reason := unreadable(name):
                raise ValueError(f"{name!r} {reason}: write it without")
        return classes

    @field_validator("split")
    @classmethod
    def suits_the_layout(cls, split: Split, others: ValidationInfo) -> Split:
        layout = others.data.get("layout")
        if layout == "npy" and split.method != "given":
            raise ValueError("the arrays' names tell the splits: set method: given")
        if split.folders and layout in ("csv", "npy"):
            source = "table" if layout == "csv" else "arrays"
            raise ValueError(f"the splits come from the {source}: leave folders out")
        if layout in ("class_folders", "label_prefix") and split.method == "given" and not split.folders:
            raise ValueError("name the splits' folders: folders: {train: ..., test: ...}")
        return split
