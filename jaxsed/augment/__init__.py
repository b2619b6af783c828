"""Augmentation on the device: pure `(key, batch) -> batch`, targets move along."""
