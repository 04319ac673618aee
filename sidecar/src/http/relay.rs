//! The way of a response, once its head is there.

use std::future::poll_fn;
use std::task::Poll;

use super::deadline::Deadline;
use super::error::{Broken, RequestError};
use super::framing::Length;
use super::give::Answer;
use super::head::{Request, Response};
use super::origin::Origin;
use super::pump::{Pump, Side};
use super::reply::GRPC_STATUS;
use super::sides::{Down, Up};

/// Passes the response on, and what is left of the request.
pub(super) async fn relay(
    origin: &Origin,
    late: &mut Deadline,
    down: &mut Down<'_>,
    mut up: Up,
    response: Response,
    request: &Request,
    upload: &mut Pump,
) -> Result<Answer, RequestError> {
    let status = response.status;
    let empty = response.length == Length::Empty;
    let mut cut = None;
    let mut failed = status.is_server_error() || grpc_failed(response.headers.get(GRPC_STATUS));
    if let Down::H1 { keep_alive, .. } = down {
        *keep_alive &= upload.is_received() && !origin.is_ending();
    }
    down.respond(response, &request.method).map_err(RequestError::ClientGone)?;
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
        down.poll_failed(cx).map(Err)
    })
    .await;
    failed |= download.trailers().is_some_and(|trailers| grpc_failed(trailers.get(GRPC_STATUS)));
    match broken {
        Ok(()) => up.release(origin, upload),
        Err(error) => {
            tracing::debug!(%error, "response cut short");
            (failed, cut) = (true, Some("cut-short"));
            down.abort(error.reason());
        }
    }
    Ok(Answer { status: status.as_u16(), failed, error: cut })
}

/// gRPC statuses that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS.
fn grpc_failed(status: Option<&http::HeaderValue>) -> bool {
    status.is_some_and(|status| [&b"2"[..], b"4", b"12", b"13", b"14", b"15"].contains(&status.as_bytes()))
}
