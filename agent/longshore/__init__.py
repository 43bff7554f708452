"""Longshore: the compute agent of a container cloud."""

__version__ = "0.1.0"
