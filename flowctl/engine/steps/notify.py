"""`notify`: an alert to the own people; `notices` sends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowctl.engine.rendering import Templates, fill
from flowctl.engine.runtime import ALERT
from flowctl.engine.work import HERE
from flowctl.language.steps import NotifyStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

# An owner is an address, or a member of a team with one.
_OWNERS = "CASE WHEN instr(c.owner, '@') > 1 THEN c.owner ELSE (SELECT j.value FROM json_each(:addresses) j WHERE j.key = c.owner) END"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Whom, and SQL of the text."""
    step = instruction.step
    assert isinstance(step, NotifyStep)  # noqa: S101 - the op says so
    settings, said = compiler.project.settings, step.notify
    team = settings.teams.get(said.team or "")
    by_email = said.owner is not None or team is None or team.alert is None
    if by_email and "email" not in settings.channels:
        compiler.refuse(step, "alerts go by e-mail, and flowctl.yaml declares no `channels: email:`", "notify")
    if by_email and not any(sender.email for sender in settings.senders.values()):
        compiler.refuse(
            step, "alerts go by e-mail, and no sender of flowctl.yaml has an address to send from", "notify"
        )
    if team is not None and not (team.email or team.alert) and said.owner is None:
        compiler.refuse(step, f"team `{said.team}` has neither `email:` nor `alert:`", "notify")
    templates = Templates(compiler=compiler)
    text = templates.text(step, step.text, "text")
    return {"team": said.team, "owner": said.owner is not None, "text": text, "templates": templates.found}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """A row an arrival; where there is no address the row says so and the contact goes on."""
    fill(batch, version, pc, said["templates"])
    teams: dict[str, Any] = batch.runtime.said["teams"]
    addresses = {
        member: team.get("email") or f"{ALERT}{name}"
        for name, team in teams.items()
        if team.get("email") or team.get("alert")
        for member in team["members"]
    }
    told = teams.get(said["team"], {})
    recipient = f"coalesce({_OWNERS}, :shared)" if said["owner"] else ":shared"
    batch.execute(
        "INSERT INTO notices (contact_id, enrollment_id, version_id, pc, at, team, owner, recipient, text, state, ready_at, settled_at, reply) "
        "SELECT x.contact_id, x.eid, x.version, x.pc, x.at, :team, x.owner, x.recipient, x.text, iif(x.recipient IS NULL, 3, 0), "
        "iif(x.recipient IS NULL, NULL, x.at), iif(x.recipient IS NULL, x.at, NULL), iif(x.recipient IS NULL, 'nobody to tell has an address', NULL) "
        f"FROM (SELECT w.*, {'c.owner' if said['owner'] else 'NULL'} AS owner, {recipient} AS recipient, {said['text']} AS text "
        f"FROM work w CROSS JOIN contacts c ON c.id = w.contact_id WHERE {HERE}) x WHERE true ORDER BY x.eid "
        "ON CONFLICT (enrollment_id, pc, at) DO NOTHING",
        team=said["team"],
        shared=f"{ALERT}{said['team']}" if told.get("alert") else told.get("email"),
        addresses=json.dumps(addresses),
        **batch.here(version, pc),
    )
    batch.note(
        version,
        pc,
        "notified",
        "json_object('team', n.team, 'owner', n.owner, 'to', n.recipient, 'text', substr(n.text, 1, 200))",
        source="work w JOIN notices n ON n.enrollment_id = w.eid AND n.pc = w.pc AND n.at = w.at",
    )
    batch.move(version, pc, said["targets"]["next"])
