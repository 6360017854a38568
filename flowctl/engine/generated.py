"""The Python code that templates become: jinja2's, but for what templates do most, which it does in place.

In place is only the commonest case of each: the attribute of a mapping, a short text, a number with a point. Whatever else comes
goes to the environment's own methods, so both ways come to the same.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, optimizeconst
from jinja2.idtracking import VAR_LOAD_ALIAS, VAR_LOAD_RESOLVE, VAR_LOAD_UNDEFINED
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.utils import missing

from flowctl.engine.budget import CHARS_PER_WORK, NUMBER_MAX, budget
from flowctl.engine.filters import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jinja2.compiler import Frame
    from jinja2.environment import Environment

# Names of generated code that jinja2 has no use for: the latest value and the mapping it is asked of. Each is read right after
# it is set, with nothing between, so that one of each serves a whole function.
_HEADER = f"""\
from flowctl.engine.filters import sum_of_attribute
from flowctl.engine.budget import charged, searched, weighed
from flowctl.engine.sandbox import Record, long
attribute_of, shown_html, shown_text = environment.getattr, environment.shown_html, environment.shown_text
escaped = environment.escaped
from jinja2.runtime import Undefined as cond_expr_undefined
undefined, concat = environment.undefined, environment.concat
SHORT = {CHARS_PER_WORK}
"""
_IN_PLACE_MAX = 500  # values and attributes
_DEPTH_MAX = 8  # attributes of attributes
_NUMBERS = frozenset({"abs", "count", "float", "int", "length", "round", "sum", "wordcount"})


class Names(Context):
    """What a template sees, and the account it pays from; what few templates use is made when it is asked for."""

    def __init__(
        self, environment: Environment, parent: dict[str, Any], name: str | None, blocks: Mapping[str, Any], **_: Any
    ) -> None:
        self.environment = environment
        self.parent = parent
        self.name = name
        self.vars = {}
        self.blocks = {block: [code] for block, code in blocks.items()} if blocks else {}
        self.account = budget.account

    def resolve_or_missing(self, key: str) -> Any:
        """A variable by name: what the template set, what it was handed, or what every template has."""
        found = super().resolve_or_missing(key)
        return self.environment.globals.get(key, missing) if found is missing else found

    @functools.cached_property
    def eval_ctx(self) -> EvalContext:  # type: ignore[override]  # jinja2 makes one each time
        """Whether values are escaped just now."""
        return EvalContext(self.environment, self.name)

    @functools.cached_property
    def exported_vars(self) -> set[str]:  # type: ignore[override]  # the same
        """The names that another template could import."""
        return set()

    @functools.cached_property
    def globals_keys(self) -> set[str]:  # type: ignore[override]  # the same
        """None: globals are not told from variables."""
        return set()


class Generator(CodeGenerator):
    """Python code that gathers its pieces in one list, in which every turn of a loop is charged, and `~` like every operator."""

    _begun = False
    _all_there = True
    _left_in_place = _IN_PLACE_MAX

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._after: list[str] = []
        self._depth = 0

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 - jinja2's name
        """The whole, with the names that its code uses."""
        for line in _HEADER.splitlines():
            self.writeline(line)
        asked = {(found.name, isinstance(found, nodes.Filter)) for found in node.find_all((nodes.Filter, nodes.Test))}
        for name, is_filter in sorted(asked):
            ours, theirs = (self.filters, "filters") if is_filter else (self.tests, "tests")
            if name in getattr(self.environment, theirs):
                ours[name] = self.temporary_identifier()
                self.writeline(f"{ours[name]} = environment.{theirs}[{name!r}]")
            else:
                self._all_there = False
        super().visit_Template(node, frame)

    def pull_dependencies(self, nodes: Iterable[nodes.Node]) -> None:
        """Bind filters and tests: once for the whole template, unless one is unknown, which jinja2 has its words for."""
        if not self._all_there:
            super().pull_dependencies(nodes)

    def write_commons(self) -> None:
        """What the code of a template begins with, and then that of each of its blocks."""
        if self._begun:
            self.writeline("resolve, account = context.resolve_or_missing, context.account")
        else:
            self.writeline("known, account = context.parent.get, context.account")
        self._begun = True
        self.writeline("if 0: yield None")

    def enter_frame(self, frame: Frame) -> None:
        """Load the variables that a part asks for."""
        if frame.block is not None:
            super().enter_frame(frame)
            return
        unset = []
        for target, (action, name) in frame.symbols.loads.items():
            if action == VAR_LOAD_RESOLVE:
                # Outside of blocks whatever a template sets is a variable of its code: a name unknown there was handed in.
                own = f"environment.globals[{name!r}]" if name in self.environment.globals else "missing"
                self.writeline(f"{target} = known({name!r}, {own})")
            elif action == VAR_LOAD_ALIAS:
                self.writeline(f"{target} = {name}")
            elif action == VAR_LOAD_UNDEFINED:
                unset.append(target)
        if unset:
            self.writeline(f"{' = '.join(unset)} = missing")

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """The outermost block makes the list; whatever stands inside adds to it."""
        outermost = frame.rootlevel and frame.buffer is None
        if outermost:
            self.buffer(frame)
        super().blockvisit(nodes, frame)
        if outermost:
            self.writeline(f"yield {frame.buffer}")

    def _in_place(self) -> bool:
        """A long template's code would take much memory to compile, and Python takes 200 brackets at most inside each other."""
        self._left_in_place -= 1
        return self._left_in_place >= 0 and self._depth < _DEPTH_MAX

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:  # noqa: ARG002 - jinja2's signature
        html = frame.eval_ctx.autoescape
        if frame.eval_ctx.volatile:
            before, after = "(shown_html if context.eval_ctx.autoescape else shown_text)(", ")"
        elif _is_number(node) or not self._in_place():
            before, after = "shown_html(" if html else "shown_text(", ")"
        elif html:
            before = "((text if len(text := escaped(value)) < SHORT else long(text)) if type(value := "
            after = ") is str else shown_html(value))"
        else:
            before, after = (
                "((value if len(value) < SHORT else long(value)) if type(value := ",
                ") is str else shown_text(value))",
            )
        self.write(before)  # what stands first there is run second
        self._after.append(after)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:  # noqa: ARG002 - the same
        self.write(self._after.pop())

    @optimizeconst
    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        """`mapping.attribute`, of one that was handed in, or of one inside it."""
        found = f".get({node.attr!r})) is not None else"
        slow = f", {node.attr!r})"
        if not self._in_place():
            self.write("attribute_of(")
            self.visit(node.node, frame)
            self.write(slow)
        elif isinstance(node.node, nodes.Name):
            name = frame.symbols.ref(node.node.name)
            load = frame.symbols.find_load(name)
            kind = "Record" if load is not None and load[0] == VAR_LOAD_RESOLVE else "dict"
            self.write(f"(value if type({name}) is {kind} and (value := {name}{found} attribute_of(")
            self.visit(node.node, frame)
            self.write(f"{slow})")
        else:
            self.write("(value if type(mapping := ")
            self._depth += 1
            self.visit(node.node, frame)
            self._depth -= 1
            self.write(f") is dict and (value := mapping{found} attribute_of(mapping{slow})")

    @optimizeconst
    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:  # noqa: N802 - the same
        """`number|round(2)` and `entries|map(attribute='price')|sum`; and all others as jinja2 does."""
        if node.node is not None and (precision := _precision(node)) is not None:
            self.write(f"(round(value, {precision}) if type(value := ")
            self.visit(node.node, frame)
            self.write(f") is float else {self.filters['round']}(value, {precision}))")
        elif (summed := _summed(node)) is not None:
            entries, attribute = summed
            self.write("sum_of_attribute(context, ")
            self.visit(entries, frame)
            self.write(f", {attribute!r})")
        else:
            super().visit_Filter(node, frame)

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802 - the same
        """`in` and `not in`, charged."""
        if node.op not in ("in", "notin"):
            super().visit_Operand(node, frame)
            return
        self.write(" in searched(" if node.op == "in" else " not in searched(")
        self.visit(node.expr, frame)
        self.write(")")

    @optimizeconst
    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 - the same
        """`text[1:3]`, charged."""
        sliced = isinstance(node.arg, nodes.Slice)
        self.write("charged(" if sliced else "")
        super().visit_Getitem(node, frame)
        self.write(")" if sliced else "")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802 - the same
        """A list, charged with all that it holds: each that holds the last one twice would be twice as large."""
        self.write("weighed(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802 - the same
        """The same; or the names that a loop sets."""
        made = node.ctx == "load"
        self.write("weighed(" if made else "")
        super().visit_Tuple(node, frame)
        self.write(")" if made else "")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802 - the same
        """The same."""
        self.write("weighed(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Continue(self, node: nodes.Continue, frame: Frame) -> None:  # noqa: ARG002, N802 - jinja2's signature
        """A turn of a loop, or a run of a macro, paid with what it prints."""
        # jinja2 allows no node types of one's own, and `continue` exists only with an extension that is not loaded here.
        self.writeline(f"account.left -= {getattr(node, 'work', 1)}", node)
        self.writeline("if account.left < 0: account.spend(0)")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        """`a ~ b`, charged."""
        self.write("environment.concat_charged((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        html = "context.eval_ctx.autoescape" if frame.eval_ctx.volatile else bool(frame.eval_ctx.autoescape)
        self.write(f"), {html})")


def beating(tree: nodes.Template) -> nodes.Template:
    """A tree in which every loop and macro beats, so that none runs for ever."""
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)  # noqa: S101 - tells mypy what find_all knows
        beat = nodes.Continue(lineno=node.lineno)
        beat.work = 1 + _printing(node.body)  # type: ignore[attr-defined]  # for the generator
        node.body.insert(0, beat)
        if isinstance(node, nodes.For) and node.test is not None:
            node.test = nodes.And(nodes.EnvironmentAttribute("turn"), node.test, lineno=node.lineno)
    return tree


def _printing(body: Iterable[nodes.Node]) -> int:
    """The work of printing a block once: one a value, and one for every 64 characters of its own text; loops inside pay themselves."""
    work = chars = 0
    for node in body:
        if isinstance(node, nodes.TemplateData):
            chars += len(node.data)
        elif isinstance(node, nodes.Output):
            work += sum(not isinstance(child, nodes.TemplateData) for child in node.nodes) + _printing(node.nodes)
        elif not isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Expr):
            work += _printing(node.iter_child_nodes())
    return work + chars // CHARS_PER_WORK


def _is_number(node: nodes.Expr) -> bool:
    """Something that hardly is a text."""
    return isinstance(node, nodes.Filter) and node.name in _NUMBERS


def _precision(node: nodes.Filter) -> int | None:
    """The 2 of `|round(2)`, where nothing else stands there."""
    if node.name != "round" or node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) > 1:
        return None
    if not node.args:
        return 0
    precision = node.args[0].value if isinstance(node.args[0], nodes.Const) else None
    return precision if type(precision) is int and abs(precision) <= NUMBER_MAX else None


def _summed(node: nodes.Filter) -> tuple[nodes.Expr, str] | None:
    """The entries and the attribute of `entries|map(attribute='price')|sum`."""
    mapped = node.node
    if node.name != "sum" or not isinstance(mapped, nodes.Filter) or mapped.name != "map" or mapped.node is None:
        return None
    if any((node.args, node.kwargs, mapped.args)) or any(one.dyn_args or one.dyn_kwargs for one in (node, mapped)):
        return None
    if [option.key for option in mapped.kwargs] != ["attribute"]:
        return None
    attribute = mapped.kwargs[0].value
    return (mapped.node, attribute.value) if isinstance(attribute, nodes.Const) and is_plain(attribute.value) else None
