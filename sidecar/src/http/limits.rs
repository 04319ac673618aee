//! Limits of HTTP/2 connections (RFC 9113 section 10.5), both sides.

use std::time::Duration;

/// Streams a peer's sidecar, or the own application, may have open at once.
pub(super) const MAX_STREAMS: u32 = 1024;
/// The same for anyone else: of each response one that does not read makes us hold a window, 16 MiB in all.
const OUTSIDE_STREAMS: u32 = 128;
/// Decoded size of a head's fields, bytes; HTTP/2 counts 32 more for each.
const FOREIGN_HEADER_LIST: u32 = 64 * 1024;
/// The same between sidecars: the largest head of an HTTP/1 client fits, with what we add to it.
const MESH_HEADER_LIST: u32 = 128 * 1024;
/// Largest frame between sidecars: with its head of 9 bytes it fills four TLS records. The least that HTTP/2 allows, 16 KiB,
/// would fill one, and with its head begin another.
const MESH_FRAME: u32 = 64 * 1024 - 9;
/// Bytes of one body that may come before they are passed on.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same over all streams of a peer's sidecar: so many that a slow stream never stops its neighbours.
const MESH_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// The same for anyone else: an unknown client may make us hold this much.
const FOREIGN_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes of one body that may wait for the peer's window.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that were reset and are remembered, and for how long (rapid reset, CVE-2023-44487). A peer's sidecar
/// passes on what all its clients do: many may give up at once.
const FOREIGN_RESETS: usize = 64;
const MESH_RESETS: usize = MAX_STREAMS as usize;
const RESET_MEMORY: Duration = Duration::from_secs(10);

/// The side that sends requests.
pub(super) fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(MESH_HEADER_LIST)
        .max_frame_size(MESH_FRAME)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(MESH_WINDOW)
        // None until the peer's SETTINGS have come: only then a peer is known to be there.
        .initial_max_send_streams(0)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(MESH_RESETS)
        .reset_stream_duration(RESET_MEMORY);
    builder
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A peer's sidecar, proven.
    Mesh,
    /// The own application.
    Application,
    /// Anyone who reaches a port.
    Outside,
}

/// The side that answers.
pub(super) fn server(client: Client) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    let mesh = client == Client::Mesh;
    let resets = if mesh { MESH_RESETS } else { FOREIGN_RESETS };
    builder
        .max_concurrent_streams(if client == Client::Outside { OUTSIDE_STREAMS } else { MAX_STREAMS })
        .max_header_list_size(if mesh { MESH_HEADER_LIST } else { FOREIGN_HEADER_LIST })
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(if mesh { MESH_WINDOW } else { FOREIGN_WINDOW })
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(resets)
        .max_pending_accept_reset_streams(resets)
        .reset_stream_duration(RESET_MEMORY);
    if mesh {
        builder.max_frame_size(MESH_FRAME);
    } else {
        // RFC 8441. Sidecars carry WebSockets between them over HTTP/1.1.
        builder.enable_connect_protocol();
    }
    builder
}
