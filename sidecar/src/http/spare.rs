//! Buffers of this thread that wait for use: a connection that has nothing to send owns none, and one that has need not
//! have one made and grown.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::BytesMut;

/// Buffers kept.
const MOST: usize = 8;
/// Buffers kept of which somebody may still hold parts.
const MOST_SHARED: usize = 32;
/// Sizes worth keeping, bytes.
const SIZES: std::ops::RangeInclusive<usize> = 512..=64 * 1024;
/// Size of a new one: an answer with a small body, or a few heads.
const NEW: usize = 2 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static SHARED: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
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

/// An empty buffer for what comes in. Parts of it are handed out, so that nobody knows when it is free: the one that has
/// waited longest most likely is.
pub(super) fn take_shared() -> BytesMut {
    SHARED.with_borrow_mut(|shared| {
        if let Some(mut first) = shared.pop_front() {
            if first.try_reclaim(NEW) {
                return first;
            }
            shared.push_back(first);
        }
        BytesMut::with_capacity(NEW)
    })
}

/// Keeps an empty buffer of [`take_shared`] for the next who needs one.
pub(super) fn give_shared(buffer: BytesMut) {
    SHARED.with_borrow_mut(|shared| {
        if shared.len() < MOST_SHARED {
            shared.push_back(buffer);
        }
    });
}
