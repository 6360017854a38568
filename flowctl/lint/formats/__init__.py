"""Reports in the formats of other programs: one a module, with `render(report, folder) -> str`.

What people read, and flowctl's own JSON, the command line draws itself.
"""
