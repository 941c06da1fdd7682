"""Timings that asv follows over commits; see docs/benchmark.md."""
