"""Which clip comes next where data come from several folders: fixed shares of a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsed.data.joined import parts_of
from jaxsed.data.sampling import (
    AST_OFFSET_CLIPS,
    ROUND_STREAM,
    ExampleOrder,
    generator,
    importance_weights,
)
from jaxsed.errors import InputError

if TYPE_CHECKING:
    from jaxsed.data.joined import JoinedData
    from jaxsed.data.records import PreparedData

_SEED_STRIDE = 1 << 40  # from folder to folder, so that no two are in the same order
_PLACES_AT_ONCE = 4096  # about so many are of rounds that share one random stream


def example_order(
    data: "PreparedData | JoinedData",
    sampling: str,
    seed: int,
    importance: str | None = None,
    importance_offset_clips: float = AST_OFFSET_CLIPS,
    epoch_clips: int | None = None,
    shares: Sequence[int] = (),
) -> "ExampleOrder | SharedOrder":
    """Returns the order of a run's examples.

    Args:
        data: what to train on.
        sampling: see `sampling.ExampleOrder`.
        seed: of the run.
        importance: see `sampling.importance_weights`; by default "paper" for "balanced",
            "released" for "balanced_epoch".
        importance_offset_clips: see there.
        epoch_clips: see `sampling.ExampleOrder`.
        shares: how many of every `sum(shares)` examples are of each folder, where data
            are of several; each is sampled on its own. None: as many as it has clips.

    Raises:
        InputError: shares are not one positive whole number a folder; or as the order.
    """

    def order(part, seed: int) -> ExampleOrder:
        weights = clips_by_class = None
        if sampling in ("balanced", "balanced_epoch"):
            mode = importance or ("paper" if sampling == "balanced" else "released")
            weights = importance_weights(part.activity(), mode, importance_offset_clips)
        elif sampling == "class_queue":
            clips_by_class = part.activity().clips_by_class()
        return ExampleOrder(
            sampling, seed, len(part), weights, epoch_clips, clips_by_class
        )

    if not shares:
        return order(data, seed)
    parts = parts_of(data)
    if len(shares) != len(parts) or not all(_is_share(share) for share in shares):
        raise InputError(
            f"data.shares={tuple(shares)}: expected one whole number, at least 1, for "
            f"each of the {len(parts)} folders of data.train"
        )
    if len(parts) == 1:
        return order(data, seed)
    orders = [order(part, seed + k * _SEED_STRIDE) for k, part in enumerate(parts)]
    return SharedOrder(orders, shares)


class SharedOrder:
    """Joins the orders of several folders, each with its share of every batch.

    Of every `sum(shares)` examples in a row, a round, each folder gives its share, so that a
    batch of a multiple of that, and each process's part of it, has these shares. Which
    places of a round are a folder's is drawn: examples are mixed with neighbours, and in a
    fixed pattern a folder would always be mixed with the same other one. A position's
    example is a function of (seed, position) alone, as it is of each order.

    Attributes:
        orders: of the folders.
        shares: of each.
        sampling: what it is called in a saved position.
        seed: of the first order: that of the run.
        n_clips: of all folders together.
    """

    def __init__(self, orders: Sequence[ExampleOrder], shares: Sequence[int]):
        """Takes as many orders as shares, all shares at least 1."""
        self.orders, self.shares = tuple(orders), tuple(shares)
        self.sampling = f"{orders[0].sampling} {':'.join(map(str, shares))}"
        self.seed = orders[0].seed
        counts = [order.n_clips for order in orders]
        self.n_clips = sum(counts)
        self._first_rows = np.cumsum([0, *counts[:-1]])
        self._round = sum(shares)
        self._part = np.repeat(np.arange(len(shares)), shares)
        self._nth = np.concatenate([np.arange(share) for share in shares])

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Returns the rows (int64 `[n]`) of the examples at `positions` (`[n]`, >= 0)."""
        rounds, places = np.divmod(np.asarray(positions, np.int64), self._round)
        places = self._drawn(rounds, places)
        rows = np.empty(rounds.shape, np.int64)
        for k, (order, share) in enumerate(zip(self.orders, self.shares)):
            own = self._part[places] == k
            nth = rounds[own] * share + self._nth[places[own]]
            rows[own] = order.rows(nth) + self._first_rows[k]
        return rows

    def _drawn(self, rounds: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns places of rounds, each round in a random order of its own."""
        at_once = max(1, _PLACES_AT_ONCE // self._round)
        blocks, within = np.divmod(rounds, at_once)
        in_order = np.tile(np.arange(self._round), (at_once, 1))
        drawn = np.empty(places.shape, np.int64)
        for block in np.unique(blocks):
            own = blocks == block
            rng = generator(self.seed, int(block), ROUND_STREAM)
            drawn[own] = rng.permuted(in_order, axis=1)[within[own], places[own]]
        return drawn


def _is_share(share) -> bool:
    return isinstance(share, int) and not isinstance(share, bool) and share >= 1
