"""The state of a training after its last finished epoch, from which an interrupted one goes on."""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from thaw.files.reading import DAMAGE, require_regular
from thaw.files.watching import require_unchanged
from thaw.files.writing import replacing
from thaw.networks.backend import keras

KEPT = (
    *("wait", "best", "best_epoch", "best_weights", "stopped_epoch", "cooldown_counter"),
    *("_ema_weights_in_model", "history"),
)
"""What Keras's callbacks carry from one epoch to the next, by their attributes' names."""


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes all that training changes into a folder after every epoch, and begins with what is there.

    The result is that of a training that was never interrupted, bit for bit. Keras's own BackupAndRestore keeps the
    weights and the optimizer's variables; there are also the states of random generators, of dropout for one, and
    what the other callbacks know: how long early stopping has waited, and its best weights.

    Args:
        folder: of nothing else.
        fingerprint: of all that the training depends on; the state of another training is ignored.
    """

    def __init__(self, folder: Path, fingerprint: str):
        super().__init__()
        self._path, self._fingerprint = folder / "state.npz", fingerprint
        self._callbacks: list[keras.callbacks.Callback] = []
        self._found = self._read()
        self.epochs: int = self._found[0]["epochs"] if self._found else 0
        """That are finished."""
        self.stopped: bool = self._found[0]["stopped"] if self._found else False
        """Whether a callback wants no more epochs."""

    def behind(self, callbacks: list[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """Return the callbacks for `fit`: all others, whose state is kept, and this one behind them."""
        self._callbacks = callbacks
        return [*callbacks, self]

    def discard(self) -> None:
        """Remove the folder, once what was trained is written, and made of what is there.

        Raises:
            UserError: something that the process reads has changed, so that the training will have to begin again, or
                to go on once that is as it was.
        """
        require_unchanged()
        shutil.rmtree(self._path.parent, ignore_errors=True)

    def _read(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        try:
            require_regular(self._path)
            with np.load(self._path) as file:
                arrays = {name: file[name] for name in file.files}
            about: dict[str, Any] = json.loads(str(arrays.pop("about")))
            is_sound = about.pop("seal") == _seal(about, arrays)
        except (OSError, MemoryError, *DAMAGE):
            return None  # there is none, or it is damaged
        return (about, arrays) if is_sound and about["fingerprint"] == self._fingerprint else None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._found:
            return
        about, arrays = self._found
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        for number, variable in enumerate(self._variables()):
            variable.assign(arrays[f"variable {number}"])
        for number, (callback, kept) in enumerate(zip(self._callbacks, about["callbacks"], strict=True)):
            for name, value in kept.items():
                if name == "best_weights" and value is not None:
                    value = [arrays[f"callback {number} weight {place}"] for place in range(value)]
                setattr(callback, name, value)
        self._found = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        arrays = {
            f"variable {number}": keras.ops.convert_to_numpy(variable)
            for number, variable in enumerate(self._variables())
        }
        callbacks = []
        for number, callback in enumerate(self._callbacks):
            kept = {name: getattr(callback, name) for name in KEPT if hasattr(callback, name)}
            if kept.get("best_weights") is not None:
                weights = kept["best_weights"]
                arrays |= {f"callback {number} weight {place}": weight for place, weight in enumerate(weights)}
                kept["best_weights"] = len(weights)
            callbacks.append(kept)
        about = {
            "fingerprint": self._fingerprint,
            "epochs": epoch + 1,
            "stopped": self.model.stop_training,
            "callbacks": callbacks,
        }
        about["seal"] = _seal(about, arrays)
        # Without it, only time is lost; where projects share the folder, another's training may end and remove it.
        with suppress(OSError), replacing(self._path) as temporary:
            np.savez(temporary, about=np.array(json.dumps(about)), **arrays)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]


def _seal(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Return a SHA-256 of all that is kept, and of the names that it is kept under."""
    content = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()
