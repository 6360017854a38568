"""A project: find it, load it, hold its names together."""
