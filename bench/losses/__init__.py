"""Losses that at least two objectives use, as pure functions of tensors.

Under autocast they compute in float32; float64 stays float64.
"""
