"""The pages of docs/rules, made of the rules' docstrings."""

from __future__ import annotations

from flowctl.lint.rules import SLUGS, load, page, title, worst

INDEX = "README.md"


def pages() -> dict[str, str]:
    """Every page by its file name, the index among them."""
    found = {f"{code}.md": page(code) for code in SLUGS}
    rows = ["| code | slug | severity | finds |", "|---|---|---|---|"]
    for code, slug in SLUGS.items():
        rule = load(code)
        severity = rule.SEVERITY if worst(rule) == rule.SEVERITY else f"{rule.SEVERITY}, {worst(rule)}"
        rows.append(f"| [{code}]({code}.md) | {slug} | {severity} | {title(code)} |")
    head = "# Rules\n\nWhat `flowctl validate` and `flowctl lint` find. `flowctl rule CODE` prints a page.\n\n"
    found[INDEX] = head + "\n".join(rows) + "\n"
    return found
