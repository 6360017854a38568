"""The time graph of a workflow: where a contact can be, what can follow, and the least time between."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal, cast

from flowctl.language.steps import FetchStep, RepeatStep, SendStep
from flowctl.language.steps.send import AllChannels, SameChannel
from flowctl.language.triggers import MomentTrigger
from flowctl.program.instructions import NEXT, Instruction
from flowctl.program.paths import least_ms, longest_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowctl.language.message import Message
    from flowctl.language.problem import Place
    from flowctl.language.workflow import Workflow
    from flowctl.program.instructions import Program

Arrow = tuple[int, int]
"""A node that can follow, and the least milliseconds until then."""
Turns = tuple[int, ...]
"""Which turn of each repeat around a position, from 0, the outermost first."""
ComebackKind = Literal["never", "gap", "restart", "parallel"]

POSITIONS_MAX = 400  # positions of a graph whose repeats are unrolled; beyond it their last turn loops
TURNS = (1000, 60, 30, 15, 8, 4, 2, 1)  # how many turns of a repeat are told apart: the most that fit
FOR_EVER_MS = 1 << 62
SAME_AS_MAX = 20  # a chain of `same_as` longer than this is followed no further
RESTING = frozenset(
    {"send", "wait", "wait_until", "wait_for", "task", "again"}
)  # where time can pass: facts arrive there


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """One message that leaves, on one of `channels`."""

    message: str
    channels: tuple[str, ...]
    marketing: bool
    once_ms: int | None = None  # the message never goes twice to a contact within this; None: no such promise


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A point on the way: a position (its instruction), a message leaving there (`sending`), or the start or the end."""

    name: str
    place: Place
    instruction: Instruction | None = None
    sending: Sending | None = None
    turns: Turns = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comeback:
    """How a contact gets from the end, or the middle, to the start again."""

    kind: ComebackKind
    gap_ms: int = 0  # between runs, as `since` counts them
    since: Literal["exit", "entry"] = "exit"
    key: str = ""  # all of it holds per value of this
    longest_ms: int | None = None  # the longest a run can last; None where nothing bounds it


@dataclass(kw_only=True, slots=True)
class TimeGraph:
    """Nodes and arrows of one workflow; messages that leave are nodes of their own."""

    workflow: Workflow
    nodes: list[Node] = field(default_factory=list)
    arrows: list[list[Arrow]] = field(default_factory=list)
    start: int = 0
    end: int = 1
    comeback: Comeback = Comeback(kind="never")
    comeback_arrows: list[tuple[int, Arrow]] = field(
        default_factory=list
    )  # kept apart: one run is the graph without them
    has_loops: bool = False  # whether one run can pass the same node again and again

    def add(self, node: Node) -> int:
        """Put a node in; returns its index."""
        self.nodes.append(node)
        self.arrows.append([])
        return len(self.nodes) - 1

    def all_arrows(self) -> list[list[Arrow]]:
        """The arrows of one run and those that begin the next."""
        if not self.comeback_arrows:
            return self.arrows
        arrows = [list(out) for out in self.arrows]
        for origin, arrow in self.comeback_arrows:
            arrows[origin].append(arrow)
        return arrows

    def sendings(self) -> Iterator[tuple[int, Sending]]:
        """Every node where a message leaves."""
        return ((index, node.sending) for index, node in enumerate(self.nodes) if node.sending is not None)


def build_graph(
    program: Program, messages: Mapping[str, Message], *, stopped: bool = False, started: bool = False
) -> TimeGraph:
    """The graph of a program. `messages` tell channels and purposes; `stopped`, `started`: another workflow can end or begin it.

    Separations are the least that can pass: a calendar day counts 23 h once, an event can come at once, a field's date can
    change to now. A contact rests on sends, waits and tasks; only there goals, exits and restarts reach it.
    """
    builder = _Builder(program, messages)
    builder.lay_out(stopped=stopped)
    builder.close_turns()
    builder.come_back(started=started)
    return builder.graph


class _Builder:
    """Copies positions once a turn of the repeats around them, then closes the turns."""

    def __init__(self, program: Program, messages: Mapping[str, Message]) -> None:
        self.program = program
        self.messages = messages
        self.graph = TimeGraph(workflow=program.workflow)
        self.around = _around(program)
        self.turns_told = _turns_told(program, self.around)
        self.index: dict[tuple[int, Turns], int] = {}
        self.pending: list[tuple[int, Turns]] = []
        self.turn_ends: list[_TurnEnd] = []

    def lay_out(self, *, stopped: bool) -> None:
        """Nodes for every position that can be reached from the start, and the arrows of single steps."""
        workflow, graph = self.program.workflow, self.graph
        graph.add(Node(name="start", place=workflow.place_of("workflow")))
        graph.add(Node(name="end", place=workflow.place_of("workflow")))
        leaves = self._leaves(stopped=stopped)
        on_goal = self.program.on_goal
        graph.arrows[graph.start].append((self._enter(0), 0))
        while self.pending:
            pc, turns = self.pending.pop()
            instruction = self.program.instructions[pc]
            arrows = list(self._ways_on(instruction, turns))
            if leaves and instruction.op in RESTING and (on_goal is None or pc < on_goal):
                arrows += [(graph.end if way is None else self._enter(way), 0) for way in leaves]
            graph.arrows[self.index[pc, turns]] = arrows

    def _leaves(self, *, stopped: bool) -> list[int | None]:
        """Where facts can take a resting contact at any time: None is the end, a number a position."""
        workflow = self.program.workflow
        ways: list[int | None] = []
        if workflow.goal is not None and workflow.goal.ends:
            ways.append(self.program.on_goal)
        active_ends = workflow.active is not None and workflow.active.at_end == "exit"
        if (stopped or workflow.exit_when or workflow.leave_when_outside or active_ends) and None not in ways:
            ways.append(None)
        return ways

    def _enter(self, pc: int) -> int:
        """The node of a position that is reached from outside all repeats."""
        return self._node(pc, (0,) * len(self.around[pc]))

    def _to(self, target: int, origin: int, turns: Turns) -> int:
        """The node of a target as seen from a position in its turns."""
        if not self.around[target]:
            return self._node(target, ())
        common = 0
        for mine, other in zip(self.around[origin], self.around[target], strict=False):
            if mine != other:
                break
            common += 1
        return self._node(target, turns[:common] + (0,) * (len(self.around[target]) - common))

    def _node(self, pc: int, turns: Turns) -> int:
        """The node of a position in its turns; where it is new it is made, and its arrows are put off."""
        found = self.index.get((pc, turns))
        if found is None:
            instruction = self.program.instructions[pc]
            if instruction.op in ("end", "exit"):
                return self.graph.end
            found = self.graph.add(
                Node(name=instruction.name, place=instruction.place, instruction=instruction, turns=turns)
            )
            self.index[pc, turns] = found
            self.pending.append((pc, turns))
        return found

    def _ways_on(self, instruction: Instruction, turns: Turns) -> Iterator[Arrow]:
        pc, step = instruction.pc, instruction.step
        if instruction.op == "again":
            self._end_turn(instruction, turns)
            return
        for label, target in instruction.targets.items():
            if instruction.op == "send" and label == NEXT and isinstance(step, SendStep):
                yield self._sent(instruction, step, turns), 0
                continue
            if self._is_needless(instruction, label) or self._is_closed(instruction, label):
                continue
            apart_ms = least_ms(instruction, label)
            if apart_ms is not None:
                yield self._to(target, pc, turns), apart_ms
        if isinstance(step, FetchStep) and step.fetch.on_error == "exit":
            yield self.graph.end, 0

    def _is_needless(self, instruction: Instruction, label: str) -> bool:
        """Whether a way only passes a send over: the way through it takes no longer and sends more.

        Not so inside a repeat, whose next turn counts from the last message that left.
        """
        if self.around[instruction.pc]:
            return False
        if instruction.op == "send":
            return label == "skipped" and instruction.targets["skipped"] == instruction.next
        if instruction.role != "when" or label != "else":
            return False
        asked = self.program.instructions[instruction.targets["then"]]
        return asked.op == "send" and asked.next == instruction.targets["else"]

    def _is_closed(self, instruction: Instruction, label: str) -> bool:
        """Whether nobody leaves a repeat here: without a `while` all its turns are taken."""
        step = instruction.step
        is_repeat = label == NEXT and instruction.op == "repeat"
        return is_repeat and isinstance(step, RepeatStep) and step.repeat.while_ is None

    def _sent(self, instruction: Instruction, step: SendStep, turns: Turns) -> int:
        """The nodes of the messages a send lets leave, one behind the other: the first, or what follows where there is none."""
        following = self._to(instruction.next, instruction.pc, turns)
        message = self.messages.get(step.send)
        marketing = message is None or message.purpose == "marketing"
        once = message.once if message is not None else None
        once_ms = None if once is None else FOR_EVER_MS if once == "ever" else once.elapsed_ms
        for channels in reversed(self.channels(step)):
            sending = Sending(message=step.send, channels=channels, marketing=marketing, once_ms=once_ms)
            node = Node(
                name=instruction.name,
                place=step.place_of("send"),
                instruction=instruction,
                sending=sending,
                turns=turns,
            )
            sent = self.graph.add(node)
            self.graph.arrows[sent].append((following, 0))
            following = sent
        return following

    def channels(self, step: SendStep, depth: int = 0) -> list[tuple[str, ...]]:
        """Each message that can leave, as the channels it may take: one entry a recipient, or a channel of `via: {all: …}`."""
        message = self.messages.get(step.send)
        written: tuple[str, ...] = message.channels if message is not None else ()
        via = step.via
        if isinstance(via, AllChannels):
            each: list[tuple[str, ...]] = [(channel,) for channel in via.all_]
        elif isinstance(via, SameChannel):
            earlier = self.program.step_positions.get(via.same_as)
            before = self.program.instructions[earlier].step if earlier is not None else None
            options: set[str] = set(written)
            if isinstance(before, SendStep) and depth < SAME_AS_MAX:
                options = {channel for one in self.channels(before, depth + 1) for channel in one}
            each = [tuple(channel for channel in written if channel in options) or written]
        else:
            each = [written if via is None else tuple(via) if isinstance(via, list) else (via,)]
        return [one for one in each if one] * (len(step.to) if step.to else 1)

    def _end_turn(self, again: Instruction, turns: Turns) -> None:
        """Note that a turn ends here, and see to it that what follows is laid out: the next turn, or the way out."""
        head_pc = again.next
        if turns[-1] + 1 < self.turns_told[head_pc]:
            self._node(head_pc, (*turns[:-1], turns[-1] + 1))
        else:
            self._to(self.program.instructions[head_pc].next, head_pc, turns)
        self.turn_ends.append(_TurnEnd(pc=again.pc, head_pc=head_pc, turns=turns))

    def close_turns(self) -> None:
        """Arrows from the last message of a turn to the next turn: `every` after it left, and not before the turn's steps end."""
        for end in sorted(self.turn_ends, key=lambda end: -len(end.turns)):
            repeat = self.program.instructions[end.head_pc].step
            assert isinstance(repeat, RepeatStep)  # noqa: S101 - the compiler made it of one
            turn, told, most = end.turns[-1], self.turns_told[end.head_pc], repeat.repeat.max
            node, head = self.index[end.pc, end.turns], self.index[end.head_pc, end.turns]
            is_last = turn + 1 >= told
            if is_last:
                self.graph.arrows[node].insert(
                    0, (self._to(self.program.instructions[end.head_pc].next, end.head_pc, end.turns), 0)
                )
            if turn + 1 >= most:
                continue
            following = head if is_last else self.index[end.head_pc, (*end.turns[:-1], turn + 1)]
            self.graph.has_loops = self.graph.has_loops or is_last
            spans = repeat.repeat.every
            first = min(turn, len(spans) - 1)
            every_ms = min(span.shortest_ms for span in (spans[first:] if is_last else spans[first : first + 1]))
            for origin, tail_ms in self._last_before(node, head):
                self.graph.arrows[origin].append((following, max(every_ms, tail_ms)))

    def _last_before(self, again: int, head: int) -> list[tuple[int, int]]:
        """Messages after which nothing more leaves in a turn, and the turn's head where nothing left; with the time to its end."""
        back: dict[int, list[Arrow]] = {}
        for origin, arrows in enumerate(self.graph.arrows):
            for target, apart_ms in arrows:
                back.setdefault(target, []).append((origin, apart_ms))
        settled: set[int] = set()
        queue = [(0, again)]
        found: list[tuple[int, int]] = []
        while queue:
            so_far_ms, node = heappop(queue)
            if node in settled:
                continue
            settled.add(node)
            if node == head or self.graph.nodes[node].sending is not None:
                found.append((node, so_far_ms))
                continue
            for origin, apart_ms in back.get(node, ()):
                if origin not in settled:
                    heappush(queue, (so_far_ms + apart_ms, origin))
        return found

    def come_back(self, *, started: bool) -> None:
        """Arrows that begin the next run, after `reentry`."""
        workflow, graph = self.program.workflow, self.graph
        said = workflow.reentry
        key = said.key or ""
        graph.comeback = Comeback(kind="never", key=key)
        moments = [trigger for trigger in workflow.triggers if isinstance(trigger, MomentTrigger)]
        if len(moments) == len(workflow.triggers) == 1 and not started:
            return  # one moment, once for everybody
        gap_ms = 0 if said.after == "never" else said.after.elapsed_ms
        may_return = said.after != "never"
        longest_ms = longest_way(self.program, self.messages) if may_return and said.since == "entry" else None
        if said.while_active == "ignore" and not may_return:
            return
        kind = {"ignore": "gap", "restart": "restart", "parallel": "parallel"}[said.while_active]
        graph.comeback = Comeback(
            kind=cast("ComebackKind", kind), gap_ms=gap_ms, since=said.since, key=key, longest_ms=longest_ms
        )
        if kind == "parallel":
            return  # runs side by side are no path: the bound multiplies instead
        if kind == "restart":
            graph.comeback_arrows += [
                (index, (graph.start, 0)) for index, node in enumerate(graph.nodes) if _rests(node)
            ]
        if may_return:
            apart_ms = gap_ms if said.since == "exit" else max(0, gap_ms - longest_ms) if longest_ms is not None else 0
            graph.comeback_arrows.append((graph.end, (graph.start, apart_ms)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _TurnEnd:
    """Where a turn of a repeat ends."""

    pc: int
    head_pc: int
    turns: Turns


def _rests(node: Node) -> bool:
    return node.sending is None and node.instruction is not None and node.instruction.op in RESTING


def _around(program: Program) -> list[tuple[int, ...]]:
    """For each position the heads of the repeats around it, the outermost first; a repeat's own head and end are inside it."""
    around: list[tuple[int, ...]] = []
    open_: list[int] = []
    ends = {instruction.next: instruction.pc for instruction in program.instructions if instruction.op == "again"}
    for instruction in program.instructions:
        if instruction.op == "repeat":
            open_.append(instruction.pc)
        around.append(tuple(open_))
        while open_ and ends[open_[-1]] == instruction.pc:
            open_.pop()
    return around


def _turns_told(program: Program, around: list[tuple[int, ...]]) -> dict[int, int]:
    """How many turns of each repeat get nodes of their own, by the position of its head."""
    maxima: dict[int, int] = {}
    for instruction in program.instructions:
        if instruction.op == "repeat" and isinstance(instruction.step, RepeatStep):
            maxima[instruction.pc] = instruction.step.repeat.max
    for most in TURNS:
        told = {head: min(maximum, most) for head, maximum in maxima.items()}
        positions = 0
        for heads in around:
            copies = 1
            for head in heads:
                copies *= told[head]
            positions += copies
        if positions <= POSITIONS_MAX:
            return told
    return dict.fromkeys(maxima, 1)
