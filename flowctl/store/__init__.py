"""The store: one SQLite file, one noun a module; the only package that opens a database."""
