//! Whole compose projects, asked from inside their containers.

mod capture;
mod down;
mod networks;
mod postgres;
mod project;
mod wire;
