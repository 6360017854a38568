"""The command line: one module a command, each parses, opens, calls one function and draws what it gave."""
