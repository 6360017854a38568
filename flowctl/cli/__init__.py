"""The command line: one module a command."""

import gc
import os

# Building the models of the language makes many objects that all stay. Looking for cycles among them every 700 costs a short command
# a tenth of its time; a long one collects all the same, only more rarely.
gc.set_threshold(100_000, 50, 50)
# Else pydantic asks every installed package whether it brings a plugin, before the first model is built.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
