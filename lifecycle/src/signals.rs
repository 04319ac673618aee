use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGTERM or SIGINT; the second one ends the process at once with 130.
///
/// # Errors
/// The kernel refuses a signal handler.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[allow(clippy::disallowed_methods, reason = "must outlive every group: it ends the process")]
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
