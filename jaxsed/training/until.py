"""What ends a run before its last step: an evaluation that passes a value."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

from jaxsed import metric_order
from jaxsed.errors import InputError, check_known

PASSED = "until/passed"  # beside `done`, in the last line of `metrics.jsonl`


@dataclasses.dataclass(frozen=True)
class Until:
    """A value to be passed; every evaluation is asked, the first one included.

    "We terminate the final phase of training at the earliest epoch that surpasses the
    baseline performance" (From Coarse to Fine, section 3.3).

    Attributes:
        metric: as it is logged, such as `eval/map`. Empty: nothing ends the run but its
            last step.
        value: passed by what is better (`jaxsed.metric_order`): a larger `eval/map`, a
            smaller `eval/segment_1s_er`. By what is equal it is not.

    Raises:
        InputError: `value` is no number.
    """

    metric: str = ""
    value: float = 0.0

    def __post_init__(self):
        is_number = isinstance(self.value, int | float)
        if not is_number or not math.isfinite(self.value):
            raise InputError(
                f"until.value={self.value!r}: expected the number that {self.metric} "
                f"is to be {metric_order.better_side(self.metric)}"
            )

    def check(self, logged: Iterable[str]) -> None:
        """Refuses a metric that no evaluation of the run will find.

        Args:
            logged: names of the metrics that will be logged.

        Raises:
            InputError: names the nearest of them.
        """
        if self.metric:
            check_known("until.metric", self.metric, logged)

    def passed_by(self, found: Mapping[str, float | None]) -> bool:
        """Whether an evaluation ends the run; a metric that is not defined does not.

        Args:
            found: what it found, by the names that are logged.
        """
        value = found.get(self.metric) if self.metric else None
        return value is not None and metric_order.is_better(
            self.metric, value, self.value
        )

    def __str__(self) -> str:
        """What holds where it is passed: `eval/map is above 0.443`."""
        side = metric_order.better_side(self.metric)
        return f"{self.metric} is {side} {self.value:g}"


NEVER = Until()
