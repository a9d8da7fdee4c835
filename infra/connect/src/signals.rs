//! Signs that the process should stop: a signal, or nobody left who reads its output.

use std::io;

/// The signals that ask a process to stop.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(crate) async fn wait(&mut self) {
        // Without a listener, the system ends the process by itself.
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Waits until nobody reads standard output any more. Never ends where that can't be seen: of a file, or outside of Unix.
pub(crate) async fn output_is_closed() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let out = io::stdout();
        // Without flags, only errors and the end of the reader are reported.
        let is_closed = || {
            let mut awaited = [PollFd::new(&out, PollFlags::empty())];
            matches!(poll(&mut awaited, Some(&Timespec::default())), Ok(1..))
        };
        while !is_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    #[cfg(not(unix))]
    std::future::pending().await
}
