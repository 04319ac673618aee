//! Pure: a snapshot and a workload in, that workload's configuration out. No clock, no async, no I/O;
//! equal input gives equal bytes.
