"""Reads a template with Jinja2's own parser: which names it asks for, exactly where, and whether it copes without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream

from flowctl.lint.templates import Chain, Template, Use

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse(text: str) -> Template:
    """The names of a template, in the order they stand; those it gives itself (loops, `set`) are left out."""
    environment = _Environment(autoescape=False)
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as error:
        return Template((), fault=error.message or "it is no template", fault_offset=min(error.lineno, len(text)))
    except RecursionError:
        return Template((), fault="it is nested too deeply")
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    own |= {"loop", "caller", "varargs", "kwargs"}
    uses = [use for use in _Walk().walk(tree, frozenset(), guarded=False) if use.chain[0] not in own]
    return Template(tuple(sorted(uses, key=lambda use: use.offset)))


class _Environment(Environment):
    """Jinja2 whose line numbers are offsets: its nodes keep nothing finer than a line, and a line of a body can be long."""

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        def placed() -> Iterator[tuple[int, str, str]]:
            at = 0
            for _, kind, value in self.lexer.tokeniter(source, name, filename, state):
                found = source.find(value, at)
                at = found if found >= 0 else at
                yield at, kind, value
                at += len(value) if found >= 0 else 0

        try:
            return TokenStream(self.lexer.wrap(placed(), name, filename), name, filename)
        except TemplateSyntaxError as error:  # the lexer itself counts lines
            error.lineno = _line_start(source, error.lineno)
            raise


def _line_start(text: str, line: int) -> int:
    at = 0
    for _ in range(line - 1):
        at = text.find("\n", at) + 1
    return at


class _Walk:
    """Goes through a template's tree with what is known to be there."""

    def walk(self, node: nodes.Node, known: frozenset[Chain], *, guarded: bool) -> Iterator[Use]:
        """The uses below a node. `known`: chains that a condition around has asked for."""
        match node:
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                yield from self._name(node, known, guarded=guarded)
            case nodes.Filter(name="default" | "d"):
                yield from self._each([node.node], known, guarded=True)
                yield from self._each([*node.args, *(pair.value for pair in node.kwargs)], known, guarded=guarded)
            case nodes.Test():
                yield from self._each([node.node], known, guarded=True)
                yield from self._each(list(node.args), known, guarded=guarded)
            case nodes.If() | nodes.CondExpr():
                yield from self._condition(node, known, guarded=guarded)
            case nodes.Or():
                yield from self.walk(node.left, known, guarded=True)
                yield from self.walk(node.right, known, guarded=guarded)
            case nodes.And():
                yield from self.walk(node.left, known, guarded=True)
                yield from self.walk(node.right, known | self._asked(node.left), guarded=guarded)
            case nodes.For():
                yield from self.walk(node.iter, known, guarded=True)
                rest = [*node.body, *node.else_, *([node.test] if node.test is not None else [])]
                yield from self._each(rest, known | self._asked(node.iter), guarded=False)
            case nodes.Call(node=nodes.Name(name=name)):
                yield Use((name,), node.node.lineno, guarded, _literal(node))
                yield from self._each(list(node.args), known, guarded=guarded)
            case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="events") as root, attr=attr)):
                yield Use(("events", attr), root.lineno, guarded, _literal(node))
                yield from self._each(list(node.args[1:]), known, guarded=guarded)
            case _:
                yield from self._each(list(node.iter_child_nodes()), known, guarded=guarded)

    def _each(self, inner: list[Any], known: frozenset[Chain], *, guarded: bool) -> Iterator[Use]:
        for node in inner:
            if isinstance(node, nodes.Node):
                yield from self.walk(node, known, guarded=guarded)

    def _name(self, node: nodes.Node, known: frozenset[Chain], *, guarded: bool) -> Iterator[Use]:
        chain, root = _chain(node)
        if root is None:
            yield from self._each(list(node.iter_child_nodes()), known, guarded=guarded)
        elif not isinstance(node, nodes.Name) or node.ctx == "load":
            there = any(chain[: len(prefix)] == prefix or prefix[: len(chain)] == chain for prefix in known)
            yield Use(chain, root.lineno, guarded or there)

    def _condition(self, node: nodes.If | nodes.CondExpr, known: frozenset[Chain], *, guarded: bool) -> Iterator[Use]:
        """What a condition asks for is taken to be there in every branch: its author has thought of it."""
        yield from self.walk(node.test, known, guarded=True)
        inside = known | self._asked(node.test)
        if isinstance(node, nodes.CondExpr):
            yield from self._each([node.expr1, node.expr2], inside, guarded=guarded)
        else:
            yield from self._each([*node.body, *node.elif_, *node.else_], inside, guarded=False)

    def _asked(self, node: nodes.Node) -> frozenset[Chain]:
        return frozenset(use.chain for use in self.walk(node, frozenset(), guarded=True))


def _literal(call: nodes.Call) -> str | None:
    """The text that a call has as its first argument."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, nodes.Const) and isinstance(first.value, str) else None


def _chain(node: nodes.Node) -> tuple[Chain, nodes.Name | None]:
    """`a.b["c"]` as a chain and its first name; None where it does not begin with a name. Ends at an index that is no literal."""
    parts: list[str] = []
    here: nodes.Node = node
    while True:
        match here:
            case nodes.Getattr():
                parts.append(here.attr)
                here = here.node
            case nodes.Getitem(arg=nodes.Const(value=str(key))):
                parts.append(key)
                here = here.node
            case nodes.Getitem(arg=nodes.Const(value=int())):
                parts.clear()
                here = here.node
            case nodes.Name():
                return (here.name, *reversed(parts)), here
            case _:
                return (), None
