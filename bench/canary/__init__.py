"""The canary: trains each objective for some dozen steps on a small fixed set, and compares how that went before."""
