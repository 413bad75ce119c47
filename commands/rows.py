"""`thaw rows`: a share of the rows of tensors or features, computed into the store that machines share."""

import argparse
import os
import re
from pathlib import Path
from socket import gethostname

import psutil

from commands.pipeline import PARAMS
from stages.check.checking import check_params
from thaw.errors import UserError
from thaw.machine import processor
from thaw.params.reading import read_yaml
from thaw.progress import progress_by_rows
from thaw.reuse.folder import FOLDER, rows_folder
from thaw.reuse.row_store import Plan

LOCAL = {"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
"""Filesystems that one machine alone sees."""
Part = tuple[int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("entry", metavar="tensors.NAME|features.NAME", help="whose rows")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="the I-th of N shares; all by default"
    )


def main(entry: str, part: Part) -> None:
    """Compute a share of the rows that tensors or features consist of, and keep them in the store.

    Several machines, each with a share, need nothing but a folder that all of them see, which THAW_CACHE names: as an
    array of sbatch, over ssh, in any scheduler. `dvc repro` then finds the rows there. What a stage reads has to be
    there before; rows that are stored are not computed again.
    """
    if not PARAMS.exists():
        raise UserError(f"{PARAMS}: no such file; run this in the project's folder")
    check_params(PARAMS)
    number, count = part
    if count > 1:
        require_shared(os.environ.get(FOLDER))
    plan, processors = _planned(entry)
    plan.store.require_room(len(plan.keys))
    first, last = (len(plan.keys) * one // count for one in (number - 1, number))
    if first == last:
        print(f"{entry}: part {number} of {count} has none of the {len(plan.keys)} rows")
        return
    for _ in progress_by_rows(plan.rows(slice(first, last)), last - first, f"part {number}/{count}"):
        pass
    print(
        f"{entry}: rows {first + 1} to {last} of {len(plan.keys)} are in {rows_folder()}, "
        f"where `dvc repro` finds them on {processors}"
    )


def _planned(entry: str) -> tuple[Plan, str]:
    """Return the plan of an entry, made of the files that dvc.yaml names; and on which machines it is the same."""
    section, _, name = entry.partition(".")
    params = read_yaml(PARAMS)
    if section not in ("tensors", "features"):
        raise UserError(f"{entry}: expected tensors.NAME or features.NAME: no other rows are stored")
    if name not in params[section]:
        raise UserError(f"{PARAMS}: {entry}: there is no such entry; there are {', '.join(params[section])}")
    if section == "tensors":
        from stages.tensors import planned as tensors

        folder, manifest = Path(params["dataset"]["path"]), Path("data/manifest.csv")
        return tensors(PARAMS, entry, folder, manifest)[0], "any machine"
    from stages.features.planning import planned as features

    made_of = params[section][name]
    images, backbone = (
        Path("data", "tensors", f"{made_of['tensors']}.h5"),
        Path("models", "backbones", f"{made_of['backbone']}.keras"),
    )
    if not backbone.exists():
        raise UserError(f"{backbone}: no such file; `dvc repro` makes it, `dvc pull` fetches it")
    return features(PARAMS, entry, images, backbone)[0], f"machines with this processor, {processor()}"


def require_shared(folder: str | None) -> None:
    """Refuse a share whose rows nobody finds, and warn where it seems so.

    Raises:
        UserError: no folder is named, or it is not there.
    """
    if not folder:
        raise UserError(f"{FOLDER}: name a folder that all machines see, such as by `export {FOLDER}=/shared/thaw`")
    path = Path(folder)
    if not path.is_dir():
        raise UserError(
            f"{FOLDER}: {path}: no such folder on {gethostname()}; mount there what all machines share, or make it once"
        )
    path = path.resolve()
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    kind = next((mounts[one] for one in (path, *path.parents) if one in mounts), "")
    if kind in LOCAL:
        where = f"{path} is on a disk of {gethostname()} alone ({kind})"
        print(f"warning: {FOLDER}: {where}: `dvc repro` finds the rows on no other machine", flush=True)


def _part(text: str) -> Part:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(one) for one in found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 3/16, got {text!r}")
    return number, count
