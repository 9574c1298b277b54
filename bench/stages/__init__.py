"""One kind of job per file: each has `run(job) -> metrics`."""
