"""One message by one real channel to an address of one's own, past workflows and outbox: a test of what people would get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.adapters import Channels
from flowctl.engine.compiled import channels_of
from flowctl.engine.runtime import Runtime, Versions
from flowctl.failure import Failure
from flowctl.store.suppressions import is_suppressed

if TYPE_CHECKING:
    from flowctl.channels.channel import Letter
    from flowctl.project.project import Project
    from flowctl.store.database import Store


def rehearsal_channels(store: Store, project: Project) -> Channels:
    """The channels as the files have them now."""
    runtime = Runtime(
        release_id=0,
        commit="",
        said=channels_of(project),
        entrances=[],
        states={},
        segments=(),
        versions=Versions(store.connection),
    )
    return Channels(runtime, project.root)


def send_test(store: Store, channels: Channels, letter: Letter) -> str:
    """Send a letter now; what its provider said.

    Raises:
        Failure: the address is suppressed, the channel cannot be made, or the provider did not take the letter.
    """
    if is_suppressed(store.connection, letter.channel, letter.recipient):
        message = f"{letter.recipient} is suppressed on {letter.channel}: nothing is sent to it"
        raise Failure(message, help="test with another address")
    connection = channels(letter.channel).open()
    try:
        receipt = connection.transmit(letter, lambda: True)
    finally:
        connection.close()
    if receipt.outcome != "sent":
        what = "may have left" if receipt.outcome == "in_doubt" else "did not leave"
        message = f"the test {what}: {receipt.reply}"
        raise Failure(message)
    return receipt.reply
