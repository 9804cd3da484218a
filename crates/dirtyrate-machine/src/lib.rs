//! A machine around the core of [`dirtyrate`]: a VM with RAM blocks and vCPU threads, the devices that a kernel needs,
//! and guests of which it is known exactly which pages they wrote.
//!
//! The `dirtyrate` command and npm package run their own VMs on this crate, and the core's tests compare every
//! measurement with the truth about its guests. A VMM that has vCPUs and guest memory of its own needs only
//! [`dirtyrate`].
//!
//! [`Machine`] is where to start reading. Beneath it, [`boot`] loads kernels, [`layout`] places RAM and devices, [`vm`]
//! keeps RAM blocks, vCPUs and dirty memory in step, [`vcpu`] has the threads, and [`workload`] the guests with a known
//! answer.
//!
//! Imports point downwards: `machine` → `boot`, `devices` → `layout` → `vm` → `vcpu` → `arch`. `workload` needs none of
//! them.

pub mod arch;
pub mod boot;
mod devices;
mod error;
pub mod layout;
mod machine;
mod process_time;
pub mod vcpu;
pub mod vm;
pub mod workload;

pub use boot::KernelOptions;
pub use devices::{Console, UnknownMmio};
pub use error::MachineError;
pub use machine::{Guest, Machine, MachineOptions, SampleOptions, SampleReport, Truth, TruthCounts};
pub use process_time::process_cpu_time;
