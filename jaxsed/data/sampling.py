"""Which clip comes next: sampling weights, and orders one can jump into anywhere.

An order is a map from the position of an example in the run (0, 1, 2, ...) to a row
of the data. It depends on (seed, position) alone, so a run that is killed goes on with
the examples it would have had.

The paper (Schmid et al., Effective Pre-Training of Audio Transformers for SED, section
III) draws clips by importance sampling. The released code (PretrainedSED
`data_util/audioset_strong.py`, `get_weighted_sampler`) uses other weights and draws
100,000 of about 100,911 clips *without* replacement: nearly every clip comes once per
epoch, and the weights change almost only the order. Both are here, under their names.
"""

import dataclasses
import logging
import threading

import numpy as np

from jaxsed.data.activity import ClassActivity
from jaxsed.errors import InputError

SAMPLINGS = ("uniform", "balanced", "balanced_epoch", "class_queue")
IMPORTANCE = ("paper", "released", "clip_counts")
RELEASED_EPOCH_CLIPS = 100_000  # `epoch_len` of `get_weighted_sampler`
RELEASED_OFFSET_FRAMES = 30  # `sample_weight_offset`
RELEASED_SCALE = 1000.0
# AST `egs/audioset/gen_weight_file.py`; 100 in EfficientAT `datasets/audioset.py`.
AST_OFFSET_CLIPS = 0.01
LABEL_FRAMES_PER_SECOND = 25
_DRAWS_AT_ONCE = 65_536  # of `balanced`: positions that share one random stream

logger = logging.getLogger(__name__)


def importance_weights(
    activity: ClassActivity, mode: str = "paper", offset_clips: float = AST_OFFSET_CLIPS
) -> np.ndarray:
    """Returns how often each clip should be drawn, relative to the others.

    Args:
        activity: how long each class sounds in each clip.
        mode: "paper": a clip weighs the sum over its classes of 1 / (seconds the class
            is active in all clips). "released": the sum over all classes of 1000 x
            frames in the clip / (30 + frames in all clips), frames of 40 ms, so long
            events count more and rare classes a little less. (The released code rounds
            every event outward to whole frames first; here seconds are converted.)
            "clip_counts", for labels of whole clips: the sum over its classes of 1000 /
            (offset + clips that have the class).
        offset_clips: for "clip_counts"; the larger, the less do rare classes count.

    Returns:
        float64 `[clips]`; 0 for a clip in which nothing is active (how many is logged).

    Raises:
        InputError: unknown mode, negative or non-finite seconds, or no clip with any
            active class.
    """
    if mode not in IMPORTANCE:
        raise InputError(
            f"importance={mode!r}: expected one of {', '.join(IMPORTANCE)}"
        )
    if not offset_clips > 0:
        raise InputError(f"importance_offset_clips={offset_clips}: must be above 0")
    total = activity.class_seconds()
    if not np.isfinite(total).all():
        raise InputError("active seconds must be finite and not negative")
    if mode == "clip_counts":
        per_class = RELEASED_SCALE / (offset_clips + activity.class_clips())
    elif mode == "paper":
        per_class = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    else:
        frames = total * LABEL_FRAMES_PER_SECOND
        per_class = RELEASED_SCALE / (RELEASED_OFFSET_FRAMES + frames)
        per_class *= LABEL_FRAMES_PER_SECOND  # of the clip's own seconds
    weights = np.zeros(activity.n_clips)
    for clips, labels, seconds in activity.blocks():
        if (seconds < 0).any():
            raise InputError("active seconds must be finite and not negative")
        amounts = seconds if mode == "released" else seconds > 0
        np.add.at(weights, clips, amounts * per_class[labels])
    _report_unweighted(weights)
    return weights


def _report_unweighted(weights: np.ndarray) -> None:
    without = int(np.count_nonzero(weights == 0))
    if without == len(weights):
        raise InputError(
            f"none of the {len(weights)} clips has an active class, so none can be "
            "drawn by importance: use sampling='uniform', or check the labels"
        )
    if without:
        logger.warning(
            "%d of %d clips have no active class and are never drawn by importance",
            without,
            len(weights),
        )


@dataclasses.dataclass(eq=False)
class ExampleOrder:
    """A random-access order of examples: position in the run -> row of the data.

    Positions are cut into blocks; the rows of a block are drawn at once from
    (seed, block) and the last two blocks are kept. Safe to use from several threads,
    and picklable.

    Attributes:
        sampling: "uniform": every clip once per epoch, in a fresh permutation.
            "balanced": each position draws on its own, with replacement, in proportion
            to the weights. "balanced_epoch": epochs of `epoch_clips` different clips,
            drawn one after the other in proportion to the weights of those left, and
            given in that order (rare clips early), as the released code does. That
            reseeds with 0 + epoch whatever the run's seed; here the seed counts.
            "class_queue": one clip of each class, drawn uniformly among those that have
            it, the classes in random order, and so on (HTS-AT `data_generator.py`).
        seed: of the run, not negative.
        n_clips: rows of the data.
        weights: float64 `[n_clips]`, from `importance_weights`, for the balanced ones.
        epoch_clips: length of an epoch of "balanced_epoch"; by default 100,000 or as
            many as have a weight, whichever is less.
        clips_by_class: for "class_queue", from `ClassActivity.clips_by_class`.
    """

    sampling: str
    seed: int
    n_clips: int
    weights: np.ndarray | None = None
    epoch_clips: int | None = None
    clips_by_class: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self):
        self._classes = ()
        if self.sampling not in SAMPLINGS:
            raise InputError(
                f"sampling {self.sampling!r}: expected one of {', '.join(SAMPLINGS)}"
            )
        if self.n_clips < 1:
            raise InputError("there are no clips to draw from: the data is empty")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed {self.seed}: expected 0 to 2**63 - 1")
        if self.sampling.startswith("balanced"):
            self._check_weights()
        if self.sampling == "class_queue":
            self._check_classes()
        if self.sampling == "balanced":
            self._cumulative = np.cumsum(self.weights)
        self.block_length = {
            "uniform": self.n_clips,
            "balanced": _DRAWS_AT_ONCE,
            "balanced_epoch": self.epoch_clips,
            "class_queue": len(self._classes),
        }[self.sampling]
        self._blocks: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def _check_weights(self) -> None:
        weights = np.asarray(self.weights, np.float64)
        if weights.shape != (self.n_clips,):
            raise InputError(
                f"{self.sampling} sampling needs a weight for each of the "
                f"{self.n_clips} clips, got {weights.shape}"
            )
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError("sampling weights must be finite and not negative")
        drawable = int(np.count_nonzero(weights))
        if not drawable:
            raise InputError(
                "all sampling weights are 0: use sampling='uniform' or check the labels"
            )
        if self.epoch_clips is None:
            self.epoch_clips = min(RELEASED_EPOCH_CLIPS, drawable)
        if not 1 <= self.epoch_clips <= drawable:
            raise InputError(
                f"epoch_clips={self.epoch_clips}: expected 1 to {drawable}, the number "
                "of clips with a weight above 0, since an epoch draws no clip twice"
            )
        self.weights = weights

    def _check_classes(self) -> None:
        if self.clips_by_class is None:
            raise InputError("class_queue sampling needs to know which clips have what")
        self._classes = np.flatnonzero(np.diff(self.clips_by_class[0]))
        if not len(self._classes):
            raise InputError(
                "no clip has a class: use sampling='uniform' or check the labels"
            )

    def __getstate__(self):
        return {**self.__dict__, "_blocks": {}, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, position: int) -> int:
        """Returns the row of the example at one position."""
        return int(self.rows(np.array([position]))[0])

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Returns the rows (int64 `[n]`) of the examples at `positions` (`[n]`, >= 0)."""
        positions = np.asarray(positions, np.int64)
        blocks, places = np.divmod(positions, self.block_length)
        rows = np.empty(positions.shape, np.int64)
        for block in np.unique(blocks):
            inside = blocks == block
            rows[inside] = self._block(int(block))[places[inside]]
        return rows

    def _block(self, block: int) -> np.ndarray:
        with self._lock:
            if block not in self._blocks:
                while len(self._blocks) > 1:  # a batch may lie across two
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[block] = self._draw(block)
            return self._blocks[block]

    def _draw(self, block: int) -> np.ndarray:
        rng = generator(self.seed, block, ORDER_STREAM)
        if self.sampling == "uniform":
            return rng.permutation(self.n_clips)
        if self.sampling == "balanced":
            # A clip of weight 0 leaves a step of no height, which "right" passes over.
            heights = rng.random(self.block_length) * self._cumulative[-1]
            rows = np.searchsorted(self._cumulative, heights, side="right")
            return np.minimum(rows, np.flatnonzero(self.weights)[-1])
        if self.sampling == "class_queue":
            first, clips = self.clips_by_class
            classes = rng.permutation(self._classes)
            counts = first[classes + 1] - first[classes]
            return clips[first[classes] + rng.integers(counts)]
        # Exponential race: arrival times of rate `weight` come in as if drawn one by
        # one without replacement.
        drawable = np.flatnonzero(self.weights)
        arrivals = rng.standard_exponential(len(drawable)) / self.weights[drawable]
        first = np.argpartition(arrivals, self.epoch_clips - 1)[: self.epoch_clips]
        return drawable[first[np.argsort(arrivals[first], kind="stable")]]


# What a random stream is for; streams of one (seed, index) are independent.
ORDER_STREAM, CROP_STREAM, WAVMIX_STREAM, PARTNER_CROP_STREAM, ROUND_STREAM = range(5)


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """Returns the random stream of (seed, index, purpose), the same on every machine.

    Philox is counter-based: making one costs microseconds, whatever the index.
    """
    key = np.array([seed, index], np.uint64)
    counter = np.array([0, 0, 0, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
