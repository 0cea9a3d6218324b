"""One HTTP/2 connection's state, for a client that opens very many short streams: `h2`, with four habits changed.

In: octets from the peer, streams to open. Out: events, octets to write. It stays usable after GOAWAY, so that streams
the peer still works on can end (RFC 9113 section 6.8); it forgets streams as soon as they end, and frames for forgotten
ones end nothing; headers are written by `HeaderWriter`. Refuses what `h2` refuses, and long frames by their header.
"""

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection, H2ConnectionStateMachine
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hyperframe.frame import Frame

from tocsin.wire.bounds import Bounds
from tocsin.wire.header_writer import HeaderWriter

_CONFIGURATION: Final = H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    normalize_inbound_headers=False,
)
_DEFAULT_WINDOW: Final = 65_535
_FORGOTTEN: Final = 4096


class _OpenAfterGoaway(H2ConnectionStateMachine):
    """The same transitions, but a GOAWAY from the peer ends nothing by itself."""

    _transitions = {  # noqa: RUF012 -- shape given by h2
        **H2ConnectionStateMachine._transitions,
        (ConnectionState.IDLE, ConnectionInputs.RECV_GOAWAY): (None, ConnectionState.IDLE),
        (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY): (None, ConnectionState.CLIENT_OPEN),
    }


class _Frames(FrameBuffer):
    """The same buffer, but a frame that is too long is refused by its header, before it is gathered."""

    def __next__(self) -> Frame:
        if len(self._data) >= 3:
            self._validate_frame_length(int.from_bytes(self._data[:3], "big"))
        return super().__next__()


class Multiplexer(H2Connection):
    """`H2Connection` for the client side. The caller keeps count of streams and calls `forget` for each that ended."""

    MAX_CLOSED_STREAMS = _FORGOTTEN

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(_CONFIGURATION)
        self.state_machine = _OpenAfterGoaway()
        self.encoder = HeaderWriter()
        self.incoming_buffer = _Frames(server=False)
        self.decoder.max_header_list_size = bounds.header_list
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: bounds.stream_window,
                SettingCodes.MAX_HEADER_LIST_SIZE: bounds.header_list,
            },
        )
        self.initiate_connection()
        self.increment_flow_control_window(bounds.connection_window - _DEFAULT_WINDOW)

    @property
    def open_outbound_streams(self) -> int:
        """Streams open now: the map holds no others here, so they need not be walked over for each new one."""
        return len(self.streams)

    def clear_outbound_data_buffer(self) -> None:
        """Keep what waits to be written when a GOAWAY comes: the peer still reads."""

    def forget(self, stream_id: int) -> None:
        """Drop a stream that ended either way; what still comes for it is answered with RST_STREAM or ignored."""
        self.streams.pop(stream_id, None)
        self._closed_streams[stream_id] = StreamClosedBy.SEND_RST_STREAM

    def takes(self, stream_id: int) -> bool:
        """Whether frames may still be sent for a stream: the peer may have closed it in octets already received."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.open

    def _receive_rst_stream_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
        """A reset of a forgotten stream says nothing new (RFC 9113 section 5.1, closed)."""
        if frame.stream_id not in self.streams and frame.stream_id <= self.highest_outbound_stream_id:
            return [], []
        return super()._receive_rst_stream_frame(frame)
