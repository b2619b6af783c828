"""From sound files on disk to batches on the wire (no jax)."""
