//! The way of a response, once its head is there.

use std::future::poll_fn;
use std::task::Poll;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::error::{Broken, RequestError};
use super::framing::Length;
use super::give::Answer;
use super::head::{Request, Response};
use super::hop;
use super::lasting::Watch;
use super::origin::{Origin, is_grpc};
use super::pump::{Pump, Side};
use super::reply::GRPC_STATUS;
use super::sides::{Down, Up};

/// What the head of a response said.
pub(super) struct Head {
    status: StatusCode,
    empty: bool,
    failed: bool,
}

/// Passes the head of the response on.
///
/// # Errors
/// The client is gone.
pub(super) fn respond(
    origin: &Origin,
    down: &mut Down<'_>,
    response: Response,
    request: &Request,
    upload: &Pump,
) -> Result<Head, RequestError> {
    let status = response.status;
    let empty = response.length == Length::Empty;
    let failed = status.is_server_error() || grpc_failed(hop::first(&response.headers, &GRPC_STATUS));
    if let Down::H1 { keep_alive, .. } = down {
        *keep_alive &= upload.is_received() && !origin.is_ending();
    }
    down.respond(response, &request.method).map_err(RequestError::ClientGone)?;
    Ok(Head { status, empty, failed })
}

/// Passes on what follows the head of the response, and what is left of the request.
pub(super) async fn relay(
    origin: &Origin,
    watch: Watch<'_>,
    down: &mut Down<'_>,
    mut up: Up,
    head: Head,
    request: &Request,
    upload: &mut Pump,
) -> Result<Answer, RequestError> {
    let Watch { late, mut lasting } = watch;
    let Head { status, empty, mut failed } = head;
    let mut cut = None;
    let mut download = if empty { Pump::done() } else { Pump::new() };
    let mut uploading = true;
    let stalled = origin.worker.patience().stalled;
    let mut waits_at = None;
    let broken = poll_fn(|cx| {
        if uploading {
            match upload.poll(cx, &mut down.half(), &mut up.half()) {
                Poll::Ready(Err(Side::From(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(Side::To(_)) | Ok(())) => uploading = false,
                Poll::Pending => {}
            }
        }
        match download.poll(cx, &mut up.half(), &mut down.half()) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Side::From(error) | Side::To(error))) => return Poll::Ready(Err(error)),
            Poll::Pending if download.is_blocked() => {
                let taken = download.passed + down.half().written();
                if waits_at.replace(taken) != Some(taken) {
                    late.after(Some(stalled));
                }
                if late.poll_passed(cx).is_ready() {
                    return Poll::Ready(Err(Broken::Stalled));
                }
            }
            Poll::Pending => waits_at = None,
        }
        if let Some(lasting) = &mut lasting
            && let Poll::Ready(late) = lasting.poll_late(cx, upload.bytes + download.bytes + download.passed)
        {
            return Poll::Ready(Err(late));
        }
        down.poll_failed(cx).map(Err)
    })
    .await;
    failed |= download.trailers().is_some_and(|trailers| grpc_failed(trailers.get(GRPC_STATUS)));
    let ended = Instant::now();
    match broken {
        Ok(()) => up.release(origin, upload, ended),
        Err(error) => {
            tracing::debug!(%error, "response cut short");
            failed = true;
            cut = Some(if let Broken::Late(late) = error { late.as_str() } else { "cut-short" });
            if !(matches!(error, Broken::Late(_)) && tells_late(down, request)) {
                down.abort(error.reason());
            }
        }
    }
    Ok(Answer { status: status.as_u16(), failed, error: cut, ended })
}

/// Ends a call of gRPC that lasts too long with status DEADLINE_EXCEEDED; false where that cannot be told.
fn tells_late(down: &mut Down<'_>, request: &Request) -> bool {
    let Down::H2 { stream, .. } = down else { return false };
    if !is_grpc(&request.headers) {
        return false;
    }
    let status = [(HeaderName::from_static("grpc-status"), HeaderValue::from_static("4"))];
    stream.finish(Some(status.into_iter().collect())).is_ok()
}

/// gRPC statuses that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS.
fn grpc_failed(status: Option<&http::HeaderValue>) -> bool {
    status.is_some_and(|status| [&b"2"[..], b"4", b"12", b"13", b"14", b"15"].contains(&status.as_bytes()))
}
