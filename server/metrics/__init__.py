"""Figures of the exchange as Prometheus text."""
