//! What holds for any answer to a health check.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::ask::Failure;
use super::{grpc, http};

/// More than what is asked, and than any input.
const ROOM: usize = 1 << 20;
/// What a try may take here: nobody waits for anything.
const LONGEST: Duration = Duration::from_secs(5);

/// What comes of a try whose answer comes in pieces of `size` bytes, and then the end; nothing: it passed.
pub(crate) fn tried(gets: bool, answer: &[u8], size: usize) -> Option<String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().expect("no descriptor is needed");
    let (here, there) = tokio::io::duplex(ROOM);
    let tried = async {
        let asked = async {
            let none = BTreeMap::new();
            let status = BTreeSet::new();
            let wanted =
                http::Wanted { path: "/", host: "cart", headers: &none, status: &status, body: Some("good") };
            let asked = async {
                if gets { http::ask(here, &wanted).await } else { grpc::ask(here, "", "cart").await }
            };
            tokio::time::timeout(LONGEST, asked).await.expect("the end of the connection ends it")
        };
        tokio::join!(asked, answered(there, answer, size)).0
    };
    runtime.block_on(tried).err().map(|failure: Failure| failure.to_string())
}

/// Answers once it has been asked something. Returns its end, which lives until the try is over.
async fn answered(mut there: DuplexStream, answer: &[u8], size: usize) -> DuplexStream {
    let _asked = there.read(&mut [0; 16]).await;
    for piece in answer.chunks(size.max(1)) {
        let _hung_up = there.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let _hung_up = there.shutdown().await;
    there
}
