"""Which part of an ensemble's work a process does."""

from typing import NamedTuple

import jax

from jaxsed.errors import InputError


class Share(NamedTuple):
    """Which shards a process computes: every `count`-th, from shard `index` on."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}_of_{self.count}"

    @classmethod
    def of(cls, part: str) -> "Share":
        """Reads `part` of the config, "3/16"; "" is this process among the joined ones.

        Raises:
            InputError: it is no such part, or processes are joined already.
        """
        if not part:
            return cls(jax.process_index(), jax.process_count())
        try:
            index, count = map(int, part.split("/"))
            if not 0 <= index < count:
                raise ValueError
        except ValueError:
            raise InputError(
                f"part={part}: expected INDEX/COUNT with INDEX from 0 to COUNT - 1, e.g. "
                "0/16 to 15/16 for 16 jobs"
            ) from None
        if jax.process_count() > 1:
            raise InputError(
                f"part={part} is for jobs on their own: leave out either it or --multihost"
            )
        return cls(index, count)
