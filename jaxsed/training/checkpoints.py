"""Checkpoints of a running training: train state and place in the data, together.

Orbax writes them asynchronously into a temporary folder and renames it when complete,
so a run killed while saving finds the checkpoint before. Arrays are stored whole,
whatever devices held them, and the place in the data is one number for all processes:
a run goes on with other devices and other processes.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from jaxsed.errors import InputError
from jaxsed.training import processes
from jaxsed.training.state import TrainState

STATE, PLACE = "state", "place"
# Replicas share the writing of an array from this size on: cutting hundreds of smaller
# ones into slices holds up the loop for longer than writing them takes.
MIN_SLICE_BYTES = 2**22


class Checkpoints:
    """The `checkpoints/` folder of one run.

    Args:
        directory: absolute or relative path; made if missing.
        keep: how many checkpoints to keep; two, so that one whose files turn out
            unreadable is not the only one.
    """

    def __init__(self, directory: Path, keep: int = 2):
        self._directory = directory
        with self._writing("the folder of checkpoints"):
            self._manager = ocp.CheckpointManager(
                directory.resolve(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=keep, cleanup_tmp_directories=True
                ),
                handler_registry=_handlers(),
            )

    @property
    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState, batches: grain.DatasetIterator) -> None:
        """Starts saving; returns as soon as the arrays are copied off the devices.

        Args:
            state: after some step; a step that is saved already is left alone.
            batches: iterator that stands where the state does; of several processes
                that of process 0 is saved.

        Raises:
            InputError: this checkpoint, or the one before, cannot be written.
        """
        step = int(state.step)
        if step == self.latest_step:
            return
        with self._writing(f"the checkpoint of step {step} or the one before"):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{
                        STATE: ocp.args.PyTreeSave(state),
                        PLACE: ocp.args.JsonSave(batches.get_state()),
                    }
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
            InputError: the checkpoint is of another model or optimiser, or its files
                cannot be read.
        """
        step = self.latest_step
        target = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            abstract_state,
            shardings,
        )
        with self._reading(step):
            self._check_fits(step, target)
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    **{
                        STATE: ocp.args.PyTreeRestore(
                            target,
                            restore_args=ocp.checkpoint_utils.construct_restore_args(
                                target
                            ),
                        ),
                        PLACE: ocp.args.JsonRestore(),
                    }
                ),
            )
        batches.set_state(restored[PLACE])
        return restored[STATE]

    def wait(self) -> None:
        """Waits until what was saved is on disk.

        Raises:
            InputError: it could not be written.
        """
        with self._writing("the last checkpoint"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits as `wait` does, and ends."""
        with self._writing("the last checkpoint"):
            self._manager.close()

    def _check_fits(self, step: int, target: Any) -> None:
        with ocp.StandardCheckpointer() as reader:
            metadata = reader.metadata(self._path(step) / STATE)
        if metadata.item_metadata is None:
            raise ValueError("what it holds is not written in it")
        stored = _shapes(metadata.item_metadata.tree)
        wanted = _shapes(target)
        if stored == wanted:
            return
        differing = sorted(
            name
            for name in stored.keys() | wanted.keys()
            if stored.get(name) != wanted.get(name)
        )
        name = differing[0]
        raise InputError(
            f"the checkpoint of step {step} in {self._directory} does not fit this "
            f"config's model or optimiser: {name} is {stored.get(name, 'not there')} "
            f"and should be {wanted.get(name, 'not there')}; use another --workdir, or "
            "go back to the config the run was started with"
        )

    def _path(self, step: int) -> Path:
        return self._directory.resolve() / str(step)

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax hands on whatever lies below it raises
            complete = [int(p.name) for p in self._directory.glob("*") if _is_step(p)]
            go_on = f"from step {max(complete)}" if complete else "from its start"
            raise InputError(
                f"{what} could not be written to {self._directory} "
                f"({_reason(error)}): check its disk and quota; the same "
                f"command goes on {go_on}"
            ) from error

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # as above
            before = [s for s in self._manager.all_steps() if s < step]
            go_on = f"go on from step {max(before)}" if before else "start afresh"
            raise InputError(
                f"the checkpoint {self._directory / str(step)} cannot be read "
                f"({_reason(error)}): remove that folder to {go_on}"
            ) from error


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    arrays = ocp.type_handlers.ArrayHandler(
        min_slice_bytes_for_replica_parallel=MIN_SLICE_BYTES,
    )
    types = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
    state = ocp.PyTreeCheckpointHandler(type_handler_registry=types)
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    registry.add(STATE, ocp.args.PyTreeSave, state)
    registry.add(STATE, ocp.args.PyTreeRestore, state)
    return registry


def _is_step(path: Path) -> bool:
    return path.name.isdigit()


def _reason(error: Exception) -> str:
    """Returns what went wrong; TensorStore says first, at length, where."""
    return processes.one_line(error).rpartition('": ')[2]


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
