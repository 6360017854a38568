"""Reports as text for machines. One format a module; each has `render(report) -> str`."""
