"""One HTML page of all results, with what stands behind each: gathered, then rendered."""
