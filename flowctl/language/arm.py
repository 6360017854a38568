"""The arm of an A/B test that every message with variants has besides them; apart, for a tick needs it and no model."""

DEFAULT_ARM = "default"
"""The message as it is written."""
