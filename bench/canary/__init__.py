"""The canary: each objective trained for seconds on a small fixed set, and held against how that went before."""
