//! The vCPU threads, one for each vCPU. Any thread can start, hold, pause, resume and end them.
//!
//! No kick is lost, because a vCPU thread takes the same lock as a requester when it decides to enter KVM_RUN:
//!
//! * the requester changes the wanted state under the lock, and only then sets `immediate_exit` and signals the thread;
//! * the thread clears `immediate_exit` under the lock, after it has seen that it may run.
//!
//! So if the thread saw the old state, the flag is set after the thread has cleared it, and the next KVM_RUN ends at
//! once. If the thread is inside KVM_RUN already, the signal takes it out (Documentation/virt/kvm/api.rst, 5:
//! `immediate_exit`).
//!
//! Every wait has a way out. These are the waits of this crate, and what ends each:
//!
//! | who waits | for what | what ends it |
//! |---|---|---|
//! | `pause`, `hold`, and so a sync of rings, `add_block`, `remove_block` | each vCPU to leave KVM_RUN | it does; or after ten seconds of kicks [`Error::VcpuStuck`](dirtyrate::Error::VcpuStuck) or [`Error::Limit`](dirtyrate::Error::Limit) |
//! | `shutdown`, the drop of a VM | each vCPU's thread to end | the same; the guest's memory then stays mapped for good |
//! | a vCPU's thread, outside KVM_RUN | leave to run | a resume, the end of the hold, the end of the VM |
//! | a vCPU's thread whose KVM_RUN answers EAGAIN | a second of tries | the VM ends with the limit |
//! | the reaper | its time, or a full ring | the drop of the log, which joins it: it is in a harvest, or in a `hold` at the most |
//! | `Machine::start` | a workload to be ready | its token, the end of the VM, or 60 seconds |
//! | `Machine::settled`, deadlines, the pacer | a time, or the guest | their token, a pause or the end of the VM |
//! | `Console::read` | output | its token, the end of the VM, a start that fails |
//! | a lock of dirty memory | the sync that has it | that sync's token, which is checked between two calls of the kernel; a call is bounded by a chunk |
//! | a call that a signal ended (EINTR) | the next try | a thousand tries |
//!
//! `vcpus` has the vCPUs of a VM, and what can be asked of them. `shared` has what all threads share. `state` is what a
//! VM is doing, and how it ended. `exits` is what a vCPU asks of the devices. `kick` takes a vCPU out of KVM_RUN.
//! `thread` is what the thread of a vCPU does. `timer` kicks a vCPU after some CPU time of its own.

mod exits;
mod kick;
mod kick_signals;
#[cfg(all(test, loom))]
mod loom_models;
mod shared;
mod state;
mod thread;
mod timer;
mod vcpus;

pub use exits::{ExitHandler, Step};
pub use kick_signals::use_kick_signal;
pub use shared::Holder;
pub use state::{Crash, Refused, RunState};
pub use vcpus::Vcpus;
