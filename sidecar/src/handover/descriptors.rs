//! Descriptors sent along with bytes over a Unix socket (SCM_RIGHTS, unix(7)).
#![allow(
    unsafe_code,
    reason = "descriptors that the kernel made for us become owned ones here, and nowhere else"
)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockRef};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Most descriptors in one message; the kernel's own limit is 253.
pub(super) const MAX_DESCRIPTORS: usize = 64;

const HEADER: usize = size_of::<libc::cmsghdr>();
const EACH: usize = size_of::<libc::c_int>();
/// `CMSG_SPACE` of a full message: the data is padded to the alignment of the header.
const CONTROL: usize = HEADER + (MAX_DESCRIPTORS * EACH).next_multiple_of(align_of::<libc::cmsghdr>());

/// Writes as much of `bytes` as goes now, with all of `descriptors` on its first byte; bytes written.
pub(super) async fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let control = control(descriptors);
    let write = || {
        let bytes = [IoSlice::new(bytes)];
        let mut message = MsgHdr::new().with_buffers(&bytes);
        if !control.is_empty() {
            message = message.with_control(&control);
        }
        SockRef::from(stream).sendmsg(&message, libc::MSG_NOSIGNAL)
    };
    stream.async_io(Interest::WRITABLE, write).await
}

/// Reads what is there, up to the length of `bytes`, with the descriptors that came along; 0: the other end is closed.
pub(super) async fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = vec![MaybeUninit::new(0); bytes.len()];
    let mut control = [MaybeUninit::new(0); CONTROL];
    let read = || {
        let mut buffers = [MaybeUninitSlice::new(&mut buffer)];
        let mut message = MsgHdrMut::new().with_buffers(&mut buffers).with_control(&mut control);
        let length = SockRef::from(stream).recvmsg(&mut message, libc::MSG_CMSG_CLOEXEC)?;
        Ok((length, message.control_len()))
    };
    let (length, filled) = stream.async_io(Interest::READABLE, read).await?;
    take(initialised(control.get(..filled).unwrap_or_default()), descriptors);
    for (to, from) in bytes.iter_mut().zip(initialised(&buffer)).take(length) {
        *to = *from;
    }
    Ok(length)
}

/// One control message: `struct cmsghdr`, then the numbers.
fn control(descriptors: &[BorrowedFd<'_>]) -> Vec<u8> {
    if descriptors.is_empty() {
        return Vec::new();
    }
    let mut control = Vec::with_capacity(CONTROL);
    control.extend((HEADER + descriptors.len() * EACH).to_ne_bytes());
    control.extend(libc::SOL_SOCKET.to_ne_bytes());
    control.extend(libc::SCM_RIGHTS.to_ne_bytes());
    for descriptor in descriptors {
        control.extend(descriptor.as_raw_fd().to_ne_bytes());
    }
    control.resize(control.len().next_multiple_of(align_of::<libc::cmsghdr>()), 0);
    control
}

/// Every descriptor in control messages that the kernel has just written.
fn take(mut control: &[u8], descriptors: &mut Vec<OwnedFd>) {
    while let Some((length, level, kind)) = header(control) {
        let data = control.get(HEADER..length).unwrap_or_default();
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let numbers = data.chunks_exact(EACH).filter_map(|number| number.try_into().ok());
            // SAFETY: the kernel has made these descriptors for this process in the recvmsg just done, and each is
            // named once.
            descriptors
                .extend(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(i32::from_ne_bytes(number)) }));
        }
        control = control.get(length.next_multiple_of(align_of::<libc::cmsghdr>())..).unwrap_or_default();
    }
}

fn header(control: &[u8]) -> Option<(usize, libc::c_int, libc::c_int)> {
    const LENGTH: usize = size_of::<usize>();
    let length = usize::from_ne_bytes(control.get(..LENGTH)?.try_into().ok()?);
    let level = i32::from_ne_bytes(control.get(LENGTH..LENGTH + EACH)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(control.get(LENGTH + EACH..HEADER)?.try_into().ok()?);
    (HEADER..=control.len()).contains(&length).then_some((length, level, kind))
}

/// Buffers here begin as zeros, so that all of them is always initialised.
fn initialised(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: every byte was made by `MaybeUninit::new`, and the kernel only writes over them.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn descriptors_travel_with_their_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        let pairs: Vec<_> = (0..3).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        let sent: Vec<_> = pairs.iter().map(|(one, _)| one.as_fd()).collect();
        assert_eq!(send(&here, b"three", &sent).await.unwrap(), 5);
        assert_eq!(send(&here, b"none", &[]).await.unwrap(), 4);
        let (mut bytes, mut got) = ([0; 64], Vec::new());
        let mut length = 0;
        while length < 9 {
            length += receive(&there, &mut bytes[length..], &mut got).await.unwrap();
        }
        assert_eq!((&bytes[..9], got.len()), (&b"threenone"[..], 3));
        for ((_, mut other), got) in pairs.into_iter().zip(got) {
            let mut got = std::os::unix::net::UnixStream::from(got);
            got.write_all(b"x").unwrap();
            let mut byte = [0];
            other.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
        }
        drop(here);
        assert_eq!(receive(&there, &mut bytes, &mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn too_many_are_not_sent() {
        let (here, _there) = UnixStream::pair().unwrap();
        let many = vec![here.as_fd(); MAX_DESCRIPTORS + 1];
        send(&here, b"x", &many).await.unwrap_err();
        assert_eq!(send(&here, b"x", &many[1..]).await.unwrap(), 1);
    }

    #[test]
    fn what_is_no_control_message_gives_nothing() {
        for bytes in [&[0; 40][..], &[255; 40], &[1; 7], &[]] {
            let mut got = Vec::new();
            take(bytes, &mut got);
            assert_eq!(got.len(), 0);
        }
    }
}
