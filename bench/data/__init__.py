"""Data sets as people have them on disk, and the views that a network sees of them."""
