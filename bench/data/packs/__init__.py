"""Packs: a split's images, shrunk once, in few large files that training reads instead of the originals."""
