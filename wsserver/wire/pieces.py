"""The lane for messages that come in pieces: one unfragmented, uncompressed frame, in several reads of the socket.

Large messages always come so, and the framing engine, which cuts and copies whatever it is given, takes several times
as long for them. Everything that can be said against a frame is in its header, but for text that is not UTF-8; so the
lane is taken by a header that was read whole, and what its frame announces is all that it ever holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import frames
from .message import Message

if TYPE_CHECKING:
    from .frames import Frame


class Pieces:
    """Takes the payload of a frame whose header has been read: `length` bytes under `mask`, at least one."""

    __slots__ = ("_mask", "_message", "_missing")

    def __init__(self, opcode: int, length: int, mask: bytes) -> None:
        self._message = Message(opcode)
        self._missing = length
        self._mask = mask

    @property
    def at_rest(self) -> bool:
        """Whether the frame has ended."""
        return not self._missing

    def receive(self, data: bytes, start: int) -> tuple[Frame | None, int]:
        """Takes the frame's bytes from `start` on; the message if that was its end, and the next position.

        Raises `ProtocolError` 1007 for text that is not UTF-8, as soon as that shows.
        """
        piece = data[start : start + self._missing]
        taken = len(piece)
        self._missing -= taken
        self._message.append(frames.unmask_long(piece, self._mask), final=not self._missing)
        turned = taken % 4
        self._mask = self._mask[turned:] + self._mask[:turned]
        return (None if self._missing else self._message.whole()), start + taken


def begin(data: bytes, start: int, limit: int) -> tuple[Pieces, int] | None:
    """The lane for the frame at `start` and where its payload begins; None where the frame is not for this lane.

    `limit` is the largest payload in bytes that may pass. A frame that is whole is for `frames.decode`.
    """
    header = frames.decode_header(data, start)
    if header is None:
        return None
    opcode, length, body = header
    if length > limit or not body <= len(data) < body + length:
        return None
    return Pieces(opcode, length, data[body - 4 : body]), body
