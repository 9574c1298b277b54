"""Networks, and what several processes compute together, that at least two objectives or tasks use."""
