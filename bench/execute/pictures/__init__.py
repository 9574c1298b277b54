"""Pictures of what finished stages have learnt, below the work folder: `bench pictures`. They are no results."""
