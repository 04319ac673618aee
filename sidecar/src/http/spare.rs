//! Buffers of this thread that wait for use: a connection that has nothing to send owns none, and one that has need not
//! have one made and grown.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers kept.
const MOST: usize = 8;
/// Sizes worth keeping, bytes.
const SIZES: std::ops::RangeInclusive<usize> = 512..=64 * 1024;
/// Size of a new one: an answer with a small body, or a few heads.
const NEW: usize = 2 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> BytesMut {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(NEW))
}

/// Keeps a buffer for the next who needs one; what is in it is lost.
pub(super) fn give(mut buffer: BytesMut) {
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST && SIZES.contains(&buffer.capacity()) {
            spare.push(buffer);
        }
    });
}
