"""`python -m bench` is `bench`: what torchrun and subprocesses start."""

from bench.import_path import working_directory_last

if __name__ == "__main__":
    working_directory_last()  # before anything else is imported
    from bench.cli import main

    main()
