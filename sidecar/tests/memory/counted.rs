//! An allocator that counts what is alive, by size: the same on every machine, whatever else runs.
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

/// Sizes are counted in steps of so many bytes, up to 32 KiB; larger ones are together.
const STEP: usize = 64;
const CLASSES: usize = 512;

struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

static BYTES: AtomicI64 = AtomicI64::new(0);
static PIECES: [AtomicI64; CLASSES] = [const { AtomicI64::new(0) }; CLASSES];

fn count(size: usize, times: i64) {
    BYTES.fetch_add(size as i64 * times, Ordering::SeqCst);
    PIECES[(size / STEP).min(CLASSES - 1)].fetch_add(times, Ordering::SeqCst);
}

// SAFETY: everything is the system allocator's; this only counts.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// What is alive at one moment.
pub struct Alive {
    bytes: i64,
    pieces: Vec<i64>,
}

impl Alive {
    /// Now.
    pub fn now() -> Self {
        let pieces = PIECES.iter().map(|pieces| pieces.load(Ordering::SeqCst)).collect();
        Self { bytes: BYTES.load(Ordering::SeqCst), pieces }
    }

    /// What came since, for each of `times`, bytes; and of which sizes.
    pub fn since(&self, times: usize) -> (i64, String) {
        let now = Self::now();
        let mut sizes = String::new();
        for (class, (now, before)) in now.pieces.iter().zip(&self.pieces).enumerate() {
            let more = (now - before) as f64 / times as f64;
            if more > 0.3 {
                sizes += &format!("\n  {more:.1} of {} bytes and more", class * STEP);
            }
        }
        ((now.bytes - self.bytes) / times as i64, sizes)
    }
}
