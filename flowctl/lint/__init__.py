"""Judgement about a project: what runs, but should not run like this."""
