"""Runs stages in order, each in a folder of its own: a pipeline is data, not code.

A path in a link's config that starts with `@/` lies in the chain's own folder, so that
a later link can name what an earlier one made: `@/weak/model`.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxsed.errors import InputError, check_known
from jaxsed.stages.workdir import claim

Stage = Callable[[Mapping[str, Any], Path], None]
OWN_FOLDER = "@/"


def run(config: Mapping[str, Any], workdir: Path, stages: Mapping[str, Stage]) -> None:
    """Runs every link of `config["links"]`; what is finished is left alone.

    Args:
        config: `links` maps a folder name to a stage's config, `order` lists the
            names in the order to run them.
        workdir: the chain's folder; link `x` runs in `workdir/x`.
        stages: name -> stage.

    Raises:
        InputError: `order` names what is no link; a link names an unknown stage or is
            meant for one of several jobs, or its config is not the one its folder was
            made with.
    """
    for name in config["order"]:
        check_known("link in order", name, config["links"])
    links = {name: config["links"][name] for name in config["order"]}
    for name, link in links.items():
        check_known(f"stage of link {name!r}", link["stage"], stages)
        if link.get("part"):
            raise InputError(
                f"link {name!r} has part={link['part']}: a chain is run by one job; run "
                "this stage on its own to share it out among several"
            )
    claim(workdir, config)
    for name, link in links.items():
        logging.info("%s: %s", name, link["stage"])
        stages[link["stage"]](resolve(link, workdir), workdir / name)


def resolve(config: Any, workdir: Path) -> Any:
    """Replaces `@/` at the start of every string by the chain's folder."""
    if isinstance(config, Mapping):
        return {key: resolve(value, workdir) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(resolve(value, workdir) for value in config)
    if isinstance(config, str) and config.startswith(OWN_FOLDER):
        return str(workdir / config.removeprefix(OWN_FOLDER))
    return config
