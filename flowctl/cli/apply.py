"""`flowctl apply`: the files become the release that ticks run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from flowctl.project.commit import Commit

EXAMPLES = """\
flowctl apply                     shows the plan and asks
flowctl apply --yes               for scripts
flowctl apply --allow-dirty       also files that are not committed
"""
_SHOWN_MAX = 5


def command(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Apply files that differ from the last commit.")] = False,
) -> int:
    """Store the files as a release; ticks run it from then on.

    Contacts in flight finish the version they entered. A release is known by its git commit.
    """
    from flowctl.cli.plan import show
    from flowctl.cli.store import opened
    from flowctl.project.commit import commit_of

    said = invocation(ctx)
    project = said.project()
    if not yes and not render.is_terminal():
        message = "apply asks before it changes anything, and nobody is there to answer"
        raise UsageFailure(message, help="look at `flowctl plan`, then say `flowctl apply --yes`")
    with opened(said, create=True) as store:
        from flowctl.engine.apply import apply
        from flowctl.engine.plan import plan
        from flowctl.store.locking import exclusive

        now = clock.now()
        found = plan(store, project, now=now)  # the first to refuse what cannot run
        commit = commit_of(project)
        if commit.dirty and not allow_dirty:
            raise _dirty(commit)
        if not yes:
            show(found)
            if not found.same and not typer.confirm("\nApply this?"):
                said.say("nothing was changed")
                return 0
        with exclusive(store):
            release = apply(store, project, commit=str(commit), now=now)
    if release.same:
        print(f"release {release.id} ({release.commit}) is current; nothing to apply")
    else:
        counts = {"new": release.new, "changed": release.changed, "gone": release.gone, "unchanged": release.unchanged}
        parts = [f"{len(names)} {word}" for word, names in counts.items() if names]
        print(f"release {release.id} applied from {release.commit}: {', '.join(parts) or 'no'} workflows")
    return 0


def _dirty(commit: Commit) -> UsageFailure:
    names = ", ".join(commit.dirty[:_SHOWN_MAX]) + (" …" if len(commit.dirty) > _SHOWN_MAX else "")
    message = f"the files differ from the last commit: {names}" if commit.hash != "uncommitted" else "the project is in no git repository with a commit"
    return UsageFailure(message, help="commit them, or say --allow-dirty: the release then carries `+dirty`")
