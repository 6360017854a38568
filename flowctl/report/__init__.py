"""Answers from the store: one question a module, a query in and a frozen dataclass out; nothing is printed here."""
