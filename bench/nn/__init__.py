"""Encoders, heads, the moving average of weights, and what processes compute together."""
