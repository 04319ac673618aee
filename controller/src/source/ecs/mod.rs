//! ECS: `record` cuts the answers of its API down to what matters here.

pub mod record;
