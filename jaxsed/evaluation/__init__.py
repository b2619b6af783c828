"""Scores on disk, their post-processing, and the measures computed from them."""
