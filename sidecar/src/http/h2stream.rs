//! One HTTP/2 stream, either side of it, with flow control from end to end.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::error::Broken;
use super::h1::Frame;
use super::hop;

/// The two bodies of a stream.
#[derive(Debug, Default)]
pub struct H2Stream {
    /// What comes; none as long as the head has not come.
    pub recv: Option<RecvStream>,
    /// What goes; none as long as the head has not gone, and after the end.
    pub send: Option<SendStream<Bytes>>,
}

impl H2Stream {
    /// The next piece; `None` at the end. Its bytes count against the window until [`H2Stream::consumed`].
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Broken>> {
        let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(None)) };
        if let Some(data) = ready!(recv.poll_data(cx)) {
            return Poll::Ready(Ok(Some(Frame::Data(data?))));
        }
        let trailers = ready!(recv.poll_trailers(cx))?.map(|mut trailers| {
            hop::strip_forbidden_trailers(&mut trailers);
            Frame::Trailers(trailers)
        });
        Poll::Ready(Ok(trailers))
    }

    /// The end was received.
    pub fn is_read(&self) -> bool {
        self.recv.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    /// Bytes were passed on: the sender may send as many more.
    pub fn consumed(&mut self, size: usize) {
        if let Some(recv) = &mut self.recv
            && size > 0
        {
            // It fails only for a stream that is gone, or for more bytes than came.
            let _gone = recv.flow_control().release_capacity(size);
        }
    }

    /// Sends all of `data` as the peer's window allows; `last` ends the stream with it.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        last: bool,
    ) -> Poll<Result<(), Broken>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(Broken::Closed)) };
        while !data.is_empty() {
            // Each question is a lock.
            let mut room = send.capacity();
            if room == 0 {
                send.reserve_capacity(data.len());
                room = send.capacity();
            }
            while room == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(capacity) => drop(capacity?),
                    None => return Poll::Ready(Err(gone(send, cx))),
                }
                room = send.capacity();
            }
            let piece = data.split_to(room.min(data.len()));
            send.send_data(piece, last && data.is_empty())?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream, unless the last piece did.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        if let Some(send) = &mut self.send {
            match trailers {
                Some(trailers) => send.send_trailers(trailers)?,
                None => send.send_data(Bytes::new(), true)?,
            }
        }
        Ok(())
    }

    /// Resolves when the peer breaks the stream off.
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        match &mut self.send {
            Some(send) => Poll::Ready(match ready!(send.poll_reset(cx)) {
                Ok(reason) => Broken::Stream(reason.into()),
                Err(error) => error.into(),
            }),
            None => Poll::Pending,
        }
    }

    /// Breaks the stream off.
    pub fn reset(&mut self, reason: Reason) {
        if let Some(send) = &mut self.send {
            send.send_reset(reason);
        }
    }
}

/// Why a stream takes no more: the peer's reason where it gave one.
fn gone(send: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Broken {
    match send.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Broken::Stream(reason.into()),
        Poll::Ready(Err(error)) => error.into(),
        Poll::Pending => Broken::Closed,
    }
}
