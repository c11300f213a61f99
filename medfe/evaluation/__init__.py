"""Metrics, the protocol that applies them, statistics and the report."""
