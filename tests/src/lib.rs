//! What tests of the whole way share: the programs, built and up to date, targets
//! on loopback that can be interrupted, logs with their lines, and a cluster.

pub mod agent;
pub mod api;
pub mod azurite;
pub mod cgroup;
pub mod chromium;
pub mod cri;
pub mod database;
pub mod entra;
pub mod fleet;
pub mod keeper;
pub mod lab;
pub mod node;
pub mod nodefile;
pub mod process;
pub mod programs;
pub mod pty;
pub mod python;
pub mod recording;
pub mod recordings;
pub mod relay;
pub mod rootfs;
pub mod scale;
pub mod secrets;
pub mod sender;
pub mod target;
pub mod template;
