"""What changed since a commit: parameters, results, scores, and predictions image by image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.hash import file_md5

from commands import git, lock
from commands.output import first_names
from thaw.errors import UserError
from thaw.files.reading import reading
from thaw.formats.label_issues import LabelIssue, label_issues, read_label_issues
from thaw.formats.manifest import read_manifest
from thaw.formats.predictions import Predictions, read_predictions
from thaw.formats.sealed_csv import parse_csv
from thaw.scoring.significance import PairedTest, paired_tests

MANIFEST = "data/manifest.csv"
THUMBNAILS = "data/thumbnails.zip"
PREDICTIONS, LABEL_ISSUES = "data/predictions/", "data/label_issues/"


@dataclass(frozen=True)
class Flip:
    """An image whose prediction was right and is wrong now, or the other way round."""

    path: str
    label: str
    old: str
    new: str


@dataclass(frozen=True)
class Compared:
    """A variant's predictions then and now, on the test images that have stayed the same."""

    variant: str
    pair: PairedTest
    flips: list[Flip]


@dataclass(frozen=True)
class Suspected:
    """The labels that are suspected to be wrong."""

    features: str
    now: list[LabelIssue]
    new: list[LabelIssue]
    """Those of them that were not."""
    no_more: int
    """How many were, and are not."""


@dataclass(frozen=True)
class Review:
    """What changed between a commit and now."""

    params: list[tuple[str, Any, Any]]
    """Addresses with their values then and now; None where there was or is none."""
    stages: list[tuple[str, list[str]]]
    """Stages that ran since, with those of their outputs that changed; none if they stayed the same."""
    gone: list[str]
    """Stages that are no more."""
    metrics: list[tuple[str, str, Any, Any, Any]]
    """File, score, its value then and now, the change: all that DVC knows, changed or not, those of the test last."""
    images: int
    """Test images that have stayed the same, on which predictions are compared."""
    compared: list[Compared]
    not_compared: str | None
    """Why they could not be."""
    suspected: list[Suspected]
    """By features, where they are others than then."""
    unread: list[str] = field(default_factory=list)
    """Which files of parameters and scores could not be read, then or now, and why: nothing else is told of them."""


def review(repo: Repo, rev: str) -> Review:
    """Return what changed since a commit, up to what dvc.lock says now.

    Raises:
        UserError: there is no such commit, or it has no dvc.lock.
    """
    old, new = lock.stages_at(rev), lock.stages_now()
    ran = []
    for name, entry in new.items():
        if entry != old.get(name):
            before = lock.hashes(old.get(name, {}), "outs")
            ran.append((name, [path for path, md5 in lock.hashes(entry, "outs").items() if before.get(path) != md5]))
    images, compared, not_compared = 0, list[Compared](), None
    try:
        images, compared = _compare(_Results(repo, rev, old), _Results(repo, None, new))
    except UserError as error:  # what git has, and dvc.lock, can be told all the same
        not_compared = str(error)
    params, unread = _below_here(repo, repo.params.diff(a_rev=rev))
    metrics, unread_metrics = _below_here(repo, repo.metrics.diff(a_rev=rev, all=True))
    return Review(
        params=[
            (address, change.get("old"), change.get("new"))
            for changes in params.values()
            for address, change in sorted(changes.items())
        ],
        stages=ran,
        gone=sorted(old.keys() - new.keys()),
        metrics=[
            (file, score, change.get("old"), change.get("new"), change.get("diff"))
            for file, changes in sorted(metrics.items())
            for score, change in sorted(changes.items(), key=lambda one: (one[0].startswith("test."), one[0]))
        ],
        images=images,
        compared=compared,
        not_compared=not_compared,
        suspected=list(_suspected(rev, old, new)),
        unread=list(dict.fromkeys([*unread, *unread_metrics])),
    )


def _below_here(repo: Repo, compared: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what DVC says of files below the current folder, by their paths from there; beside it, projects may be.

    Returns:
        What changed, and what could not be read: DVC itself takes such a file for one that is not there.
    """

    def here(files: dict[str, Any]) -> dict[str, Any]:
        found = {lock.spelled(f"{repo.root_dir}/{file}"): what for file, what in files.items()}
        return {path: what for path, what in found.items() if not path.startswith("../")}

    changed, unread = here(compared.get("diff", {})), list[str]()
    for rev, errors in compared.get("errors", {}).items():
        if isinstance(errors, Exception):  # nothing is known of that side
            changed.clear()
            unread.append(f"{'here' if rev == 'workspace' else rev}: {errors}")
            continue
        for path, error in here(errors).items():
            if not isinstance(error, FileNotFoundError):
                changed.pop(path, None)
                reason = str(error).rpartition("', ")[2]  # behind another spelling of the path
                unread.append(f"{path if rev == 'workspace' else f'{rev}:{path}'}: {reason}")
    return changed, unread


def _suspected(rev: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Suspected]:
    """Yield how the suspected labels of features differ from those of a commit; Git has the tables."""
    then, now = (_written(entries, "label_issues@") for entries in (old, new))
    for path in sorted(path for path in now if path.startswith(LABEL_ISSUES)):
        here = Path(path)
        if now[path] == then.get(path) or not here.exists():
            continue
        before = git.file_at(git.require_commit(rev), path) or b""
        with reading(f"{rev}:{path}"):
            former = (
                label_issues(parse_csv(before.decode().splitlines(keepends=True), is_bound=True).rows) if before else []
            )
        known = {(one.path, one.given) for one in former if one.suspected}
        suspected = [one for one in read_label_issues(here) if one.suspected]
        added = [one for one in suspected if (one.path, one.given) not in known]
        yield Suspected(here.stem, suspected, added, len(known) - len(suspected) + len(added))


class _Results:
    """The results that a dvc.lock names, read from DVC's cache."""

    def __init__(self, repo: Repo, rev: str | None, entries: dict[str, Any]):
        self._repo, self._rev = repo, rev
        self.hashes = _written(entries)
        self.predicted = [path for path in _written(entries, "evaluate@") if path.startswith(PREDICTIONS)]
        """Where the variants' predictions are; what stages of a user's own write there is something else."""

    def fetch(self, paths: Iterable[str]) -> None:
        """Fetch into the cache what is not in it."""
        absent = [path for path in paths if not self._object(path).exists()]
        if not absent:
            return
        try:
            if self._rev:
                self._repo.fetch(absent, revs=[self._rev], workspace=False)
            else:
                self._repo.fetch(absent)
        except DvcException as error:
            reason = str(error)
        else:
            has_remote = self._repo.config["core"].get("remote")
            reason = "the remote has them not" if has_remote else "there is no remote"
        if any(not self._object(path).exists() for path in absent):
            # By its number: Git does not know the names of experiments.
            checkout = f"`git checkout {git.require_commit(self._rev)[:12]}`, " if self._rev else ""
            raise UserError(
                f"{self._rev or 'here'}: {', '.join(absent)} not in DVC's cache, and could not be fetched ({reason}); "
                f"where they are, `dvc push` them, or get them anew: {checkout}`dvc repro`"
            )

    def predictions(self, path: str) -> Predictions:
        return read_predictions(self._sound(path), is_bound=True)

    def digests(self) -> dict[str, str]:
        """Return the images' SHA-256 by path."""
        return {row.path: row.sha256 for row in read_manifest(self._sound(MANIFEST), is_bound=True)}

    def _sound(self, path: str) -> Path:
        """Return where DVC's cache has a result, once that is known to be what dvc.lock names: DVC itself trusts it."""
        found = self._object(path)
        if file_md5(str(found), self._repo.cache.local.fs) != self.hashes[path]:
            raise UserError(
                f"{found}: DVC's copy of {path} is damaged; delete it, and `dvc fetch`, or `dvc repro --force` on the "
                "stage that writes it"
            )
        return found

    def _object(self, path: str) -> Path:
        return Path(self._repo.cache.local.oid_to_path(self.hashes[path]))


def _written(entries: dict[str, Any], by: str = "") -> dict[str, str]:
    """Return the hashes of what stages wrote, by path: of all, or of those whose names begin so."""
    hashes = [lock.hashes(entry, "outs") for name, entry in entries.items() if name.startswith(by)]
    return {path: md5 for one in hashes for path, md5 in one.items()}


def _compare(old: _Results, new: _Results) -> tuple[int, list[Compared]]:
    """Compare the predictions of the variants whose predictions changed, on the images that both then and now test.

    Raises:
        UserError: there are no such images, the classes are others, or the predictions cannot be had.
    """
    changed = [path for path in new.predicted if old.hashes.get(path) not in (None, new.hashes[path])]
    if not changed:
        return 0, []
    same_images = old.hashes.get(MANIFEST) == new.hashes.get(MANIFEST)
    for results in (old, new):
        results.fetch([*changed, *([] if same_images else [MANIFEST])])
    then, now = ({path: results.predictions(path) for path in changed} for results in (old, new))
    _require_same_classes(next(iter(then.values())).classes, next(iter(now.values())).classes)
    shared = set.intersection(*(set(one.paths) for one in (*then.values(), *now.values())))
    if not same_images:
        shared &= {path for path, _ in old.digests().items() & new.digests().items()}
    if not shared:
        raise UserError("no test image is the same as then")
    then, now = ({path: _only(one, shared) for path, one in of.items()} for of in (then, now))
    labels = now[changed[0]].labels
    probabilities = {f"old {path}": one.probabilities for path, one in then.items()}
    probabilities |= {f"new {path}": one.probabilities for path, one in now.items()}
    pairs = paired_tests(labels, probabilities, [(f"old {path}", f"new {path}") for path in changed])
    return len(shared), [
        Compared(Path(path).stem, pair, list(_flips(then[path], now[path])))
        for path, pair in zip(changed, pairs, strict=True)
    ]


def _require_same_classes(then: list[str], now: list[str]) -> None:
    """Raise a `UserError` if classes are others, or are in another order, and so are the predicted probabilities."""
    changed = {"new": [one for one in now if one not in then], "no more": [one for one in then if one not in now]}
    told = [f"{what}: {first_names(names)}" for what, names in changed.items() if names]
    if then != now:
        raise UserError(f"the classes are others than then ({'; '.join(told) or 'in another order'})")


def _only(predictions: Predictions, paths: set[str]) -> Predictions:
    """Return the rows of some images, sorted by path."""
    order = sorted((path, row) for row, path in enumerate(predictions.paths) if path in paths)
    rows = [row for _, row in order]
    return Predictions(
        [path for path, _ in order], predictions.labels[rows], predictions.probabilities[rows], predictions.classes
    )


def _flips(then: Predictions, now: Predictions) -> Iterator[Flip]:
    old, new = then.probabilities.argmax(axis=1), now.probabilities.argmax(axis=1)
    for row in np.flatnonzero((old == now.labels) != (new == now.labels)):
        label, before, after = (now.classes[one] for one in (now.labels[row], old[row], new[row]))
        yield Flip(now.paths[row], label, before, after)
