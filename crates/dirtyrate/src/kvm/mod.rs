//! All that talks to `/dev/kvm`: capabilities, the VM and its memory slots, vCPU threads, and the dirty log.

pub mod arch;
mod block_layout;
mod block_watch;
pub mod capabilities;
pub mod dirty_log;
pub mod dirty_ring;
mod ioctls;
pub(crate) mod kick;
mod signals;
pub mod slots;
pub mod vcpu;
pub mod vm;

pub use block_watch::{BlockChange, BlockWatch};
pub use capabilities::{Capabilities, ManualProtect};
pub use dirty_log::BitmapLog;
pub use kick::use_kick_signal;
pub use slots::{BlockSpec, Slots};
pub use vcpu::{ExitHandler, HoldVcpus, RingExits, RunState, Step};
pub use vm::{LogKind, Vm, VmOptions};
