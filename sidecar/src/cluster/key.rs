//! Rendezvous hashing: each endpoint gets a score for a key, and the highest takes it. Of n endpoints one that goes or
//! comes moves one key in n, as with a ring, without a table that has to be built and kept.

/// FNV-1a (draft-eastlake-fnv), mixed: the same in every sidecar, so that all callers agree.
pub(crate) fn of(text: &[u8]) -> u64 {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed(hash)
}

/// The score of an endpoint for a key, both hashed.
pub(crate) fn score(key: u64, endpoint: u64) -> u64 {
    mixed(key ^ endpoint)
}

/// The finaliser of splitmix64: each bit of the input changes half of the bits of the output.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
