"""Windows through a model, some at a time."""

import collections
import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxsed.audio.windows import Window
from jaxsed.errors import InputError
from jaxsed.models.dense import multiplied_in

OTHER_OUTPUTS = ("clip_logits", "frames")


class BatchedModel:
    """Front-end and model, compiled once for each of a few batch sizes.

    Called with windows and the name of an output, yields each window with its output.
    While the device computes a batch, the windows of the next are read. A window's
    output does not depend on the other windows of its batch. Windows that a short sound
    does not fill are masked: the model sees the sound's label frames and no more.

    Args:
      model: A `models.sed.SoundEventModel`.
      params: Its parameters.
      batch_size: Most windows at a time. Fewer are filled up with silence to the next
        of 1, 2, 4, ..., so that few programs are compiled.

    Raises:
      InputError: `batch_size` is not positive, or the device's memory does not suffice.
    """

    def __init__(self, model, params: Mapping[str, Any], batch_size: int):
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected at least 1")
        self._batch_size = batch_size
        with self._enough_memory():
            self._params = jax.device_put(multiplied_in(params, model.dtype))

        # All outputs at once: the work is the same, and only what is asked for leaves
        # the device.
        @jax.jit
        def compute(params, wave, n_samples=None):
            mel = model.frontend(wave, n_samples)
            length = None
            if n_samples is not None:
                length = model.frontend.n_mel_frames(n_samples)
            logits, out = model.apply({"params": params}, mel, length)
            return {"logits": logits, **{name: out[name] for name in OTHER_OUTPUTS}}

        self._compute = compute

    def __call__(
        self, windows: Iterable[Window], output: str
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Computes one output of every window.

        Args:
          windows: Any number of them, all of one length.
          output: "logits", "clip_logits" or "frames".

        Yields:
          `(window, values)` in order; float32 values of that window alone.

        Raises:
          InputError: The model gives NaN or infinity, or the device's memory does not
            suffice.
        """
        pending = collections.deque()
        for batch in self._batches(windows):
            with self._enough_memory():
                pending.append((batch, self._start(batch)[output]))
            if len(pending) > 1:
                yield from self._paired(*pending.popleft())
        for batch, values in pending:
            yield from self._paired(batch, values)

    def _start(self, batch: list[Window]) -> dict[str, jax.Array]:
        size = min(self._batch_size, 1 << (len(batch) - 1).bit_length())
        wave = np.zeros((size, len(batch[0].samples)), np.float32)
        wave[: len(batch)] = [window.samples for window in batch]
        if batch[0].is_full:
            return self._compute(self._params, wave)
        n_samples = np.full(size, wave.shape[1], np.int32)
        n_samples[: len(batch)] = [window.n_samples for window in batch]
        return self._compute(self._params, wave, n_samples)

    def _batches(self, windows: Iterable[Window]) -> Iterator[list[Window]]:
        # Full ones and others apart, so that masks change no number of a full one.
        for _, alike in itertools.groupby(windows, key=lambda window: window.is_full):
            while batch := list(itertools.islice(alike, self._batch_size)):
                yield batch

    def _paired(
        self, batch: list[Window], values: jax.Array
    ) -> Iterator[tuple[Window, np.ndarray]]:
        with self._enough_memory():  # what was started may fail as late as this
            values = np.asarray(values, np.float32)[: len(batch)]
        if not np.isfinite(values).all():
            raise InputError(
                "the model gives NaN or infinite values; its training diverged, use an "
                "earlier checkpoint"
            )
        yield from zip(batch, values)

    @contextlib.contextmanager
    def _enough_memory(self) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise InputError(
                f"the memory of {jax.devices()[0].device_kind} does not suffice for "
                f"{self._batch_size} windows at a time: give a smaller batch size, or end "
                "what else uses it"
            ) from error
