"""Drives the real engine on a copy in memory, with a virtual clock, recording channels and made-up behaviour."""
