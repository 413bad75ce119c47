"""Finding files, and leaving out what is none of a project's."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from thaw.errors import UserError

# Names in lower case.
IGNORED = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r", "network trash folder", "temporary items", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin", "@tmp", "__pycache__"),
    "~snapshot",
}
# Copies that editors keep, what DVC says of data beside them, what Windows and Macs say of a file beside it: where a
# download is from, also as WSL writes it, that thumbnails may be encrypted, and what a Synology has of a Mac.
IGNORED_ENDS = (
    *("~", ".dvc", ":zone.identifier", "\uf03azone.identifier", ":encryptable"),
    *("@synoresource", "@synoeastream"),
)


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder, at any depth, and the files and folders in it that `is_ignored` names.

    Raises:
        UserError: a folder cannot be read, or is a link.
    """
    files: list[Path] = []
    ignored: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        ignored += [Path(parent) / name for name in sorted([*folders, *names]) if is_ignored(name)]
        folders[:] = sorted(one for one in folders if not is_ignored(one))
        for one in folders:
            if (Path(parent) / one).is_symlink():
                raise UserError(
                    f"{Path(parent) / one}: a link to a folder, behind which DVC does not look, so that changes there "
                    "would go unseen; put the files themselves in its place, such as by cp -rL"
                )
        files += [Path(parent) / name for name in sorted(names) if not is_ignored(name)]
    return files, ignored


def files_at(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those in the folders that are named, at any depth; none twice.

    Raises:
        UserError: something cannot be read, or there is no file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            refuse(error)
        files |= dict.fromkeys(files_below(path)[0] if path.is_dir() else [path])
    if not files:
        raise UserError(f"{', '.join(map(str, paths))}: no files are there")
    return list(files)


def is_ignored(name: str) -> bool:
    """Say whether a file or a folder is hidden, or is what desktops, network storage and tools leave behind.

    What stands for a file that is still in a cloud is not: a data set would be smaller than it seems.

    >>> [is_ignored(name) for name in ("oak.jpg", ".DS_Store", "Thumbs.db")]
    [False, True, True]
    """
    lower = name.lower()
    is_hidden = lower.startswith((".", "~$")) and not lower.endswith(".icloud")
    return is_hidden or lower in IGNORED or lower.endswith(IGNORED_ENDS)


def refuse(error: OSError) -> NoReturn:
    """Raise a `UserError` which says that the error's file or folder cannot be read."""
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}")
