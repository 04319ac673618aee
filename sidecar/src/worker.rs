//! One worker: a thread with a current-thread runtime, its own listeners and its own pools.
//! Nothing here is shared with other workers but the generation handle, endpoint counters and metrics.
