"""flowctl: marketing automation for people who work in git."""

__version__ = "0.1.0"
