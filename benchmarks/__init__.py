"""Benchmarks: ratios of two sides that are measured in the same run, taking turns."""
