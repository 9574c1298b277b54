"""Shards: tars of images as the package `webdataset` writes them, read in place, image by image, in any order.

A sample is the files of a tar with one key, which is what stands before the first dot of a file's name: an image, and
its class in `.cls` or `.json`. The package itself reads tars from their beginning to their end, and shuffles what lies
in a buffer. So it cannot say which image the n-th draw of a seed is, nor go on in the middle of an epoch with the
images that are left. Both are promised here: shards are read by an index of where each image lies, made once.
"""
