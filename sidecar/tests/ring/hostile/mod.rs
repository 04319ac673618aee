//! Bytes that mean harm: a corpus of our own. What each is answered is in docs/conformance.md.

mod application;
mod frames;
mod http_two;
mod recorder;
mod requests;
mod reuse;
mod slow;
