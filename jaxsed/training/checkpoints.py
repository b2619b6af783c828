"""Checkpoints of a running training: train state and data iterator, together.

Orbax writes them asynchronously into a temporary folder and renames it when complete,
so a run killed while saving finds the checkpoint before.
"""

from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from jaxsed.errors import InputError
from jaxsed.training.state import TrainState


class Checkpoints:
    """The `checkpoints/` folder of one run.

    Args:
        directory: absolute or relative path; made if missing.
        keep: how many checkpoints to keep; two, so that one whose files turn out
            unreadable is not the only one.
    """

    def __init__(self, directory: Path, keep: int = 2):
        self._directory = directory
        self._manager = ocp.CheckpointManager(
            directory.resolve(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, cleanup_tmp_directories=True
            ),
        )

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Starts saving; returns as soon as the arrays are copied off the devices."""
        step = int(state.step)
        if step == self.latest_step:
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                data=grain.checkpoint.CheckpointSave(batches),
            ),
        )

    def restore(
        self, abstract_state: Any, shardings: Any, batches: grain.DatasetIterator
    ) -> TrainState:
        """Returns the newest state and moves `batches` to where that run was.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` as the state to restore.
            shardings: tree of shardings as the state; may differ from those saved.
            batches: iterator over the same data; changed in place.

        Raises:
            InputError: the checkpoint is of another model or optimiser.
        """
        target = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            abstract_state,
            shardings,
        )
        try:
            restored = self._manager.restore(
                self.latest_step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(target),
                    data=grain.checkpoint.CheckpointRestore(batches),
                ),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the checkpoint of step {self.latest_step} in {self._directory} does "
                "not fit this config's model or optimiser: use another --workdir, or "
                f"go back to the config the run was started with ({error})"
            ) from error
        return restored.state

    def close(self) -> None:
        """Waits until what was saved is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()
