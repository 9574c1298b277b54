"""Configs: what a pretraining, a task and an objective may be set to, and reading that without torch."""
