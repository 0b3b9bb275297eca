"""Wellpose: from a raw screening plate to labels, tables and a report."""

__version__ = "0.1.0"
