"""The canary: each objective trained for some dozen steps on a small fixed set, and held against how that went before."""
