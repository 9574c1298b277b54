"""From a request to finished stages: the grid, the walk, one stage in a process, what there is."""
