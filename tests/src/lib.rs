//! What tests of the whole way share: the programs, built and up to date, and
//! targets on loopback that can be interrupted.

pub mod agent;
pub mod lab;
pub mod programs;
pub mod target;
