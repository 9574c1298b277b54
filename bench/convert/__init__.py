"""Checkpoint dialects, the trunk file, and the proof that the weights arrived."""
