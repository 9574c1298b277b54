"""Records -> long frame -> tables. Nothing here imports torch."""
