//! All that talks to `/dev/kvm`: capabilities, memory slots, and the dirty logs.

pub mod capabilities;
pub mod dirty_log;
pub mod dirty_ring;
mod fd;
mod guest_paging;
mod ioctls;
mod manual_protect;
mod signals;
mod slots;
pub mod statistics;

pub use capabilities::Capabilities;
pub use dirty_log::BitmapLog;
pub use fd::{vcpu_fd, vm_fd};
pub use manual_protect::ManualProtect;
pub use signals::uninterrupted;
pub use slots::Slots;
