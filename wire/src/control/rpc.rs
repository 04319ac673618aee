//! The one gRPC method, by hand: no code generator is needed for it.

use tokio_stream::Stream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::proof::Proof;
use super::{Down, STREAM_PATH, Up};

/// Largest message to a sidecar, bytes.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Largest message of a sidecar, bytes: it names what it holds and reports. The controller keeps the last report of each, so
/// that one task could otherwise make it keep much.
pub const MAX_UP: usize = 4 << 20;

/// Opens the stream of a sidecar: `up` is sent, what comes back is returned once the controller has
/// answered with headers. `proof` is for a controller on another host.
///
/// # Errors
/// The controller cannot be reached, or it refuses (`PERMISSION_DENIED` says why in its message).
pub async fn open(
    channel: Channel,
    up: impl Stream<Item = Up> + Send + 'static,
    proof: Option<&Proof>,
) -> Result<Streaming<Down>, Status> {
    let mut grpc =
        Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_UP);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Up, Down>::default();
    let mut request = Request::new(up);
    if let Some(proof) = proof {
        proof.write(request.metadata_mut().as_mut());
    }
    let response = grpc.streaming(request, PathAndQuery::from_static(STREAM_PATH), codec).await?;
    Ok(response.into_inner())
}

/// Answers one HTTP/2 request to the control socket. `accept` is called with the sidecar's messages and
/// returns the controller's; every path but [`STREAM_PATH`] is answered UNIMPLEMENTED.
pub async fn answer<B, F, D>(request: http::Request<B>, accept: F) -> http::Response<Body>
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send,
    F: FnOnce(Streaming<Up>) -> Result<D, Status> + Send,
    D: Stream<Item = Result<Down, Status>> + Send + 'static,
{
    if request.uri().path() != STREAM_PATH {
        return Status::unimplemented("the control socket has one method: Stream").into_http();
    }
    let codec = ProstCodec::<Down, Up>::default();
    let mut grpc = tonic::server::Grpc::new(codec)
        .max_decoding_message_size(MAX_UP)
        .max_encoding_message_size(MAX_MESSAGE);
    grpc.streaming(Accept(Some(accept)), request).await
}

/// tonic asks for a service; ours is called once.
struct Accept<F>(Option<F>);

impl<F, D> Service<Request<Streaming<Up>>> for Accept<F>
where
    F: FnOnce(Streaming<Up>) -> Result<D, Status> + Send,
    D: Stream<Item = Result<Down, Status>> + Send + 'static,
{
    type Response = Response<D>;
    type Error = Status;
    type Future = BoxFuture<Response<D>, Status>;

    fn poll_ready(&mut self, _context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Up>>) -> Self::Future {
        let accept = self.0.take();
        let answer = match accept {
            Some(accept) => accept(request.into_inner()).map(Response::new),
            None => Err(Status::internal("called twice")),
        };
        Box::pin(std::future::ready(answer))
    }
}
