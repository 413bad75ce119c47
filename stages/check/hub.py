"""What must be right of a backbone of KerasHub, known without importing it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thaw.backbones.presets import (
    CONVERTER,
    FAMILIES,
    Family,
    built_in,
    class_of,
    family_of,
    fixed_pixels,
    missing,
    read_config,
)
from thaw.errors import UserError
from thaw.machine import HAS_HUB, INSTALL_HUB
from thaw.params.backbones import Backbone
from thaw.suggestions import did_you_mean


def hub_problems(here: str, entry: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an entry of `backbones` whose architecture is `hub`: a key, and what is wrong there."""
    weights, sha256 = entry.get("weights"), entry.get("sha256")
    if entry.get("include_top") is True:
        yield f"{here}.include_top", "KerasHub's backbones have no such layers: leave it out"
    if not HAS_HUB:
        yield f"{here}.architecture", f"KerasHub is not installed; `{INSTALL_HUB}` installs it"
    elif isinstance(weights, str) and weights and sha256 is None:
        yield from ((f"{here}.weights", problem) for problem in _not_a_preset(weights))
    elif isinstance(weights, str) and weights and isinstance(sha256, str):
        yield from ((f"{here}.weights", problem) for problem in _not_a_folder(Path(weights)))


def _not_a_preset(name: str) -> Iterator[str]:
    known = built_in()
    if name in known and known[name] not in FAMILIES:
        yield f"{name} is a preset of {known[name]}, none of the image backbones; there are {', '.join(FAMILIES)}"
    elif name not in known:
        images = [preset for preset, family in known.items() if family in FAMILIES]
        yield (
            f"KerasHub has no preset {name!r}{did_you_mean(name, images)}; "
            "a preset's folder needs its sha256 (with any other, the backbone's stage says the right one)"
        )


def _not_a_folder(folder: Path) -> Iterator[str]:
    try:
        found = class_of(read_config(folder))
        if not any(family.backbone == found for family in FAMILIES.values()):
            yield f"{folder} has a {found}, none of the image backbones; there are {', '.join(FAMILIES)}"
        elif not (folder / CONVERTER).is_file():
            yield f"no such file: {folder / CONVERTER}; {missing(CONVERTER)}"
    except UserError as error:
        yield str(error)
    except ValueError as error:  # a null character
        yield f"no such folder: {error}"


def hub_family(backbone: Backbone) -> Family | None:
    """Return the family of a backbone of KerasHub; None of any other, or of one that has errors of its own."""
    try:
        return family_of(backbone.weights, backbone.sha256) if backbone.architecture == "hub" else None
    except (UserError, ValueError):
        return None


def hub_pixels(backbone: Backbone) -> list[int] | None:
    """Return the height and width that a backbone of KerasHub takes; None if it takes any, or is not at hand."""
    is_at_hand = hub_family(backbone) is not None and backbone.sha256 is not None
    return fixed_pixels(Path(backbone.weights)) if is_at_hand else None
