"""What sinks share: the Message they take, FLUSH and Gone. core.contracts.Sink is the contract of a sink.

A sink is one file and an entry point in the group `polyclinic.sinks`, named after the scheme of its URL. Its class may
say more of the URL: `default_port`, `takes_prefix` (whether the path comes before the topics), `choices` (the keys
of the query, and their values), `takes_origins` (whether `origin=` names web pages that may read); and of itself
`notice`, a line that the user must know.
"""

from dataclasses import dataclass

FLUSH = 5.0  # s that a sink may take to send what waits when the stream ends


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a topic (ward/bed/signal), bytes, and whether whoever comes later gets the last one first."""

    topic: str
    payload: bytes
    retain: bool = False


class Gone(Exception):  # noqa: N818
    """Whoever read the stream has left for good. Raised by a sink's send()."""
