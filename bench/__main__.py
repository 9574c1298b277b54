"""`python -m bench` is `bench`: what torchrun and subprocesses start."""

from bench.cli import main

if __name__ == "__main__":
    main()
