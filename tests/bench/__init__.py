"""
Benchmarks, not tests: ``make bench`` prints ratios against a bare baseline.

Each module measures one promise and returns :class:`~tests.bench.figures.Row`;
both sides of a ratio run in turn within the same run, since machines are noisy.
"""
