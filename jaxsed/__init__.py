"""jaxsed: sound event detection in JAX. `jaxsed.load(MODEL_DIR)` gives a `Detector`."""

__all__ = ["Detector", "load"]


def __getattr__(name: str):
    # Only now, so that `import jaxsed` brings in no jax: data workers and `--help`
    # must neither wait for it nor touch the accelerator.
    if name in __all__:
        from jaxsed.inference import detector

        return getattr(detector, name)
    raise AttributeError(f"module 'jaxsed' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
