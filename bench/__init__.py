"""Benchmarks: what flowctl does against the raw limit of the same machine in the same run."""
