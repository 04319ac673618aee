//! After 101: bytes both ways, each half closing by itself.

use std::future::poll_fn;
use std::task::Poll;

use h2::Reason;
use http::Method;

use super::error::{BadMessage, Broken, RequestError};
use super::h1::Conn;
use super::head::Response;
use super::lasting::Watch;
use super::origin::Origin;
use super::pump::{Half, Pump};
use super::sides::{Down, Up};

/// Passes a 101 on and carries what follows; returns its status when both halves have ended.
///
/// # Errors
/// The application's side does not speak HTTP/1, which alone can switch.
pub(super) async fn carry(
    origin: &Origin,
    watch: Watch<'_>,
    down: &mut Down<'_>,
    up: Up,
    response: Response,
    method: &Method,
) -> Result<u16, RequestError> {
    let status = response.status.as_u16();
    let Up::H1 { conn: mut application, .. } = up else {
        return Err(RequestError::BadResponse(BadMessage::Malformed("status: 101 over HTTP/2")));
    };
    down.respond(response, method).map_err(RequestError::ClientGone)?;
    // Until it has ended well, also where the worker ends before.
    if let Down::H1 { conn: client, keep_alive, .. } = down {
        *keep_alive = false;
        client.switch();
        client.io().reset_on_close();
    }
    application.switch();
    application.io().reset_on_close();
    match tunnel(origin, watch, down, &mut application).await {
        Ok(()) => {
            if let Down::H1 { conn: client, .. } = down {
                client.io().end_on_close();
            }
            application.io().end_on_close();
        }
        Err(error) => {
            tracing::debug!(%error, "upgraded connection broke");
            // RFC 8441 section 5: what TCP says with RST.
            down.abort(Reason::CANCEL);
        }
    }
    Ok(status)
}

async fn tunnel(
    origin: &Origin,
    watch: Watch<'_>,
    client: &mut Down<'_>,
    application: &mut Conn,
) -> Result<(), Broken> {
    let (mut out, mut back) = (Pump::new(), Pump::new());
    let (mut out_ended, mut back_ended) = (false, false);
    let mut carried = u64::MAX;
    let Watch { late: deadline, lasting } = watch;
    let mut lasting = lasting.map(|lasting| lasting.upgraded());
    poll_fn(|cx| {
        if !out_ended && one_way(cx, &mut out, &mut client.half(), &mut Half::H1(application))?.is_ready() {
            out_ended = true;
        }
        if !back_ended && one_way(cx, &mut back, &mut Half::H1(application), &mut client.half())?.is_ready() {
            back_ended = true;
        }
        if out_ended && back_ended {
            return Poll::Ready(Ok(()));
        }
        if let Down::H2 { stream, .. } = client
            && let Poll::Ready(gone) = stream.poll_failed(cx)
        {
            return Poll::Ready(Err(gone));
        }
        if carried != out.bytes + back.bytes {
            carried = out.bytes + back.bytes;
            deadline.after(origin.idle_limit());
        }
        if let Some(Poll::Ready(late)) = lasting.as_mut().map(|lasting| lasting.poll_late(cx, 0)) {
            return Poll::Ready(Err(late));
        }
        deadline.poll_passed(cx).map(|()| Err(Broken::Stream(Reason::CANCEL.into())))
    })
    .await
}

fn one_way(
    cx: &mut std::task::Context<'_>,
    pump: &mut Pump,
    from: &mut Half<'_>,
    to: &mut Half<'_>,
) -> Result<Poll<()>, Broken> {
    match (pump.poll(cx, from, to), to) {
        (Poll::Pending, _) => Ok(Poll::Pending),
        (Poll::Ready(Err(side)), _) => Err(side.into_broken()),
        (Poll::Ready(Ok(())), Half::H1(to)) => Ok(to.poll_shutdown(cx)?.map(|()| ())),
        // Its stream ended with the last piece.
        (Poll::Ready(Ok(())), Half::H2(_)) => Ok(Poll::Ready(())),
    }
}
