"""Training on a task of one's own (Effective Pre-Training, section IV).

Step 3's training with other data: see `stages.strong` for clips whose times are not known,
such as DESED's weak ones, and `stages.frozen` for an encoder that stays as it is.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsed.stages import strong, train


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: that of step 3 under its own name."""
    return dataclasses.replace(strong.task(config), name="downstream")


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains heads, or the whole model, on a task's labels."""
    train.run(config, workdir, task(config))
