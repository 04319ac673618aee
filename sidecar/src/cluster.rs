//! Endpoints of a cluster: which to pick. Knows no request types.
