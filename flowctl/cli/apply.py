"""`flowctl apply`: the files become the release that ticks run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import Invocation, invocation
from flowctl.cli.plan import IN_FLIGHT_HELP
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from flowctl.engine.apply import Release
    from flowctl.engine.in_flight import Orders
    from flowctl.engine.plan import Plan
    from flowctl.project.project import Project
    from flowctl.store.database import Store

EXAMPLES = """\
flowctl apply                     shows the plan and asks
flowctl apply --yes               for scripts
flowctl apply --allow-dirty       also files that are not committed
flowctl apply plan.json           what `flowctl plan --out plan.json` showed, or nothing
flowctl apply --in-flight cart-recovery=exit
"""
_SHOWN_MAX = 5


def command(
    ctx: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="[PLAN]",
            help="Apply what this file of `plan --out` holds, instead of the files.",
            show_default=False,
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Apply files that differ from the last commit.")
    ] = False,
    in_flight: Annotated[
        list[str] | None,
        typer.Option("--in-flight", metavar="WORKFLOW=exit|finish", help=IN_FLIGHT_HELP, show_default=False),
    ] = None,
) -> int:
    """Store the files as a release; ticks run it from then on.

    Contacts in flight finish the version they entered, unless `move:` in its file or --in-flight says otherwise. A release is
    known by its git commit. A reviewed plan is refused where something was applied since.
    """
    from flowctl.cli import reviewed
    from flowctl.cli.store import opened
    from flowctl.engine.in_flight import parse_orders
    from flowctl.engine.plan import plan as plan_of
    from flowctl.project.commit import commit_of

    said = invocation(ctx)
    orders = parse_orders(in_flight or [])
    plan = reviewed.read(file, said) if file else None
    if plan and orders:
        message = "the plan holds its own --in-flight"
        raise UsageFailure(message, help="say it to `flowctl plan --out`")
    project = plan.project if plan else said.project()
    if not plan:
        can_ask("apply", yes=yes)
    now = clock.now()
    with opened(said, create=True) as store:
        if plan:
            reviewed.check_base(store, plan)
            commit, dirty = plan.commit, plan.dirty
        else:
            head = commit_of(project)
            commit, dirty = str(head), head.dirty
        orders = plan.in_flight if plan else orders
        found = plan_of(store, project, now=now, in_flight=orders, commit=commit)  # the first to refuse what cannot run
        if dirty and not allow_dirty:
            raise _dirty(commit, dirty)
        release = confirmed(
            store, project, said, found, commit=commit, orders=orders, now=now, yes=yes or plan is not None
        )
    return 0 if release is None else told(release)


def can_ask(name: str, *, yes: bool) -> None:
    """Raises UsageFailure where nobody can answer."""
    if not yes and not render.is_terminal():
        message = f"{name} asks before it changes anything, and nobody is there to answer"
        raise UsageFailure(message, help=f"look at `flowctl plan`, then say `flowctl {name} --yes`")


def confirmed(
    store: Store,
    project: Project,
    said: Invocation,
    found: Plan,
    *,
    commit: str,
    orders: Orders,
    now: int,
    yes: bool,
    rollback: int | None = None,
) -> Release | None:
    """Show the plan and ask, unless `yes`; then apply. None: it was declined."""
    from flowctl.cli.plan import worst_of
    from flowctl.cli.plan_shown import show
    from flowctl.engine.apply import apply
    from flowctl.report.releases import newest
    from flowctl.store.locking import exclusive

    before = newest(store)
    if before is not None and before.environment != project.environment:
        names = [name or "no environment" for name in (before.environment, project.environment)]
        said.say(f"warning: release {before.id} was applied for {names[0]}, this one is for {names[1]}")
    if not yes:
        show(found, worst_of(store, project, said.environment))
        nothing = found.same and not found.commit and not orders
        if not nothing and not typer.confirm("\nApply this?"):
            said.say("nothing was changed")
            return None
    with exclusive(store):
        return apply(store, project, commit=commit, now=now, in_flight=orders, rollback=rollback)


def told(release: Release) -> int:
    """Print what an apply did."""
    if release.same:
        print(f"release {release.id} ({release.commit}) is current; nothing to apply")
        return 0
    if release.only_commit:
        print(
            f"release {release.id} applied from {release.commit}: the files of the last release, which are committed now"
        )
        return 0
    counts = {"new": release.new, "changed": release.changed, "gone": release.gone, "unchanged": release.unchanged}
    parts = [f"{len(names)} {word}" for word, names in counts.items() if names]
    print(f"release {release.id} applied from {release.commit}: {', '.join(parts) or 'no'} workflows")
    for name, count in release.carried.exited.items():
        print(f"{name}: {render.plural(count, 'contact')} in older versions left")
    for name, steps in release.carried.moved.items():
        print(f"{name}: {render.plural(sum(steps.values()), 'contact')} moved to the new version")
    return 0


def _dirty(commit: str, dirty: tuple[str, ...]) -> UsageFailure:
    names = ", ".join(dirty[:_SHOWN_MAX]) + (" …" if len(dirty) > _SHOWN_MAX else "")
    message = (
        "the project is in no git repository with a commit"
        if commit == "uncommitted"
        else f"the files differ from the last commit: {names}"
    )
    return UsageFailure(message, help="commit them, or say --allow-dirty: the release then carries `+dirty`")
