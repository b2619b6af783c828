"""Encoders, sequence models and heads as Flax Linen modules."""
