"""Workflows laid flat: instructions, the ways through them, and the least time between."""
