"""What a tick does: everything as set operations on the store, one kind of step, trigger and condition a module."""
