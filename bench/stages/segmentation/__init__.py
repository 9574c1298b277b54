"""Semantic segmentation by mmseg. Only this package imports mmseg and mmengine's Runner."""
