"""Models that are as cheap to compile as can be."""

import dataclasses


def with_one_block(model):
    """The sound event model with a single block, where its encoder has a depth."""
    encoder = model.encoder
    if hasattr(encoder, "config"):
        config = dataclasses.replace(encoder.config, depth=1)
        encoder = encoder.clone(config=config)
    return model.clone(encoder=encoder)
