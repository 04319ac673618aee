//! The resolver.
mod upstreams;
pub(crate) use upstreams::nameservers;
