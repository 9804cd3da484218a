//! The VMM: two blocks of memory in slots that it numbers as it likes, one vCPU on a thread, and a way to stop it.

use std::os::raw::c_int;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dirtyrate::kvm::Capabilities;
use dirtyrate::kvm::dirty_ring::{HoldVcpus, RingExits};
use dirtyrate::{Error, Result};
use kvm_bindings::{KVM_EXIT_DIRTY_RING_FULL, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress, MmapRegion};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::guest::{self, Range};

/// The block that the guest writes to.
pub const HIGH: &str = "high";
const HIGH_ADDRESS: u64 = 16 << 20;
/// Its size: not a multiple of the 64 pages of a word.
pub const HIGH_PAGES: u64 = 1000;
/// The slots' numbers: a VMM may leave some out.
const SLOTS: [u32; 2] = [3, 7];

/// A VM that is not this crate's.
pub struct Vmm {
    pub vm: VmFd,
    pub capabilities: Capabilities,
    kvm: Kvm,
    range: Range,
    pauser: Pauser,
    rounds: Option<Sender<()>>,
    answers: Option<Receiver<std::result::Result<(), String>>>,
    thread: Option<JoinHandle<()>>,
    /// Last: it is unmapped when the VM is gone.
    memory: [GuestRegionMmap; 2],
}

fn refused(call: &'static str) -> impl Fn(kvm_ioctls::Error) -> Error {
    move |errno| Error::Ioctl { call, context: "the VMM".to_owned(), source: errno.into() }
}

impl Vmm {
    /// A VM with its memory and its code, whose guest writes `pages` pages of the second block from the page `first` on. It has no
    /// slots yet.
    pub fn new(first: u64, pages: u64) -> Result<Self> {
        let kvm = Kvm::new().map_err(refused("open of /dev/kvm"))?;
        let capabilities = Capabilities::of(&kvm);
        let page_size = capabilities.page_size;
        let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        guest::prepare_vm(&vm).map_err(refused("KVM_SET_TSS_ADDR"))?;
        let map = |address: u64, pages: u64| {
            let mapping = MmapRegion::new((pages * page_size) as usize).expect("memory");
            GuestRegionMmap::new(mapping, GuestAddress(address)).expect("an address")
        };
        let range = Range { first_address: HIGH_ADDRESS + first * page_size, pages, page_size };
        let memory = [map(0, 16), map(HIGH_ADDRESS, HIGH_PAGES)];
        memory[0].write_slice(&guest::code(&range), MemoryRegionAddress(guest::CODE)).expect("room for the code");
        let pauser = Pauser::default();
        Ok(Self { vm, capabilities, kvm, range, pauser, rounds: None, answers: None, thread: None, memory })
    }

    /// Sets the slots.
    pub fn set_slots(&self) -> Result<()> {
        self.regions().into_iter().try_for_each(|(_, region)| {
            // SAFETY: the memory is mapped for as long as the VM is there: see `memory`.
            unsafe { self.vm.set_user_memory_region(region) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))
        })
    }

    /// The slots, as they are set, by name.
    pub fn regions(&self) -> [(&'static str, kvm_userspace_memory_region); 2] {
        let region = |index: usize| kvm_userspace_memory_region {
            slot: SLOTS[index],
            flags: 0,
            guest_phys_addr: self.memory[index].start_addr().0,
            memory_size: self.memory[index].len(),
            userspace_addr: self.memory[index].get_mmap().as_ptr() as u64,
        };
        [("low", region(0)), (HIGH, region(1))]
    }

    /// The vCPU, which does not run yet.
    pub fn create_vcpu(&self) -> Result<VcpuFd> {
        let vcpu = self.vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        guest::boot(&self.kvm, &self.vm, &vcpu, &self.range).map_err(refused("setting the vCPU's registers"))?;
        Ok(vcpu)
    }

    /// What stops the vCPU.
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// Puts the vCPU on its thread, where it waits for [`round`](Self::round). `ring` is to know what ends its KVM_RUN.
    pub fn start(&mut self, vcpu: VcpuFd, ring: Option<Box<dyn RingExits>>) -> Result<()> {
        extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        register_signal_handler(kick_signal(), nothing).map_err(refused("sigaction"))?;
        let (rounds, asked) = channel();
        let (answer, answers) = channel();
        let pauser = self.pauser();
        (self.rounds, self.answers) = (Some(rounds), Some(answers));
        self.thread = Some(std::thread::spawn(move || run(vcpu, &pauser, ring.as_deref(), &asked, &answer)));
        Ok(())
    }

    /// Has the guest write its pages once, and returns when it has.
    pub fn round(&self) -> Result<()> {
        let ended = || Error::State("the vCPU's thread has ended".to_owned());
        let (Some(rounds), Some(answers)) = (&self.rounds, &self.answers) else { return Err(ended()) };
        rounds.send(()).map_err(|_| ended())?;
        answers.recv().map_err(|_| ended())?.map_err(Error::State)
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.rounds = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong, if anything has.
            let _ = thread.join();
        }
    }
}

/// The vCPU's thread: one round for each that is asked for.
fn run(
    mut vcpu: VcpuFd,
    pauser: &Pauser,
    ring: Option<&dyn RingExits>,
    asked: &Receiver<()>,
    answer: &Sender<std::result::Result<(), String>>,
) {
    enum Ended {
        Done,
        RingFull,
        Kicked,
        Otherwise(String),
    }
    while asked.recv().is_ok() {
        let result = loop {
            pauser.enter();
            let ended = match vcpu.run() {
                Ok(exit) if guest::says_done(&exit) => Ended::Done,
                Ok(VcpuExit::Unsupported(KVM_EXIT_DIRTY_RING_FULL)) => Ended::RingFull,
                Ok(VcpuExit::Intr) => Ended::Kicked,
                Err(errno) if errno.errno() == libc::EINTR => Ended::Kicked,
                other => Ended::Otherwise(format!("the vCPU ended with {other:?}")),
            };
            pauser.leave();
            match (ended, ring) {
                (Ended::Done, _) => break Ok(()),
                // The reaper is awake now. Until it has been there, KVM_RUN ends at once.
                (Ended::RingFull, Some(ring)) => match ring.full(0) {
                    Ok(()) => {}
                    Err(error) => break Err(error.to_string()),
                },
                (Ended::RingFull, None) => break Err("a full ring, and nobody to empty it".to_owned()),
                (Ended::Kicked, ring) => ring.into_iter().for_each(|ring| ring.kicked(0)),
                (Ended::Otherwise(reason), _) => break Err(reason),
            }
        };
        if answer.send(result).is_err() {
            return;
        }
    }
}

/// Whether the vCPU may enter KVM_RUN, and whether it is there.
#[derive(Default)]
struct Gate {
    holds: usize,
    inside: Option<libc::pthread_t>,
}

/// Stops the vCPU: what the rings ask of a VMM.
#[derive(Clone, Default)]
pub struct Pauser(Arc<(Mutex<Gate>, Condvar)>);

impl Pauser {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) {
        let mut gate = self.0.1.wait_while(self.gate(), |gate| gate.holds > 0).unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it has no precondition.
        gate.inside = Some(unsafe { libc::pthread_self() });
    }

    fn leave(&self) {
        self.gate().inside = None;
        self.0.1.notify_all();
    }
}

impl HoldVcpus for Pauser {
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()> {
        let mut gate = self.gate();
        gate.holds += 1;
        while let Some(thread) = gate.inside {
            // A signal that comes between the gate and KVM_RUN has no effect: so again, until the vCPU is out.
            // SAFETY: the thread is inside, so it has not ended; the signal has a handler.
            unsafe { libc::pthread_kill(thread, kick_signal()) };
            let waited = self.0.1.wait_timeout(gate, Duration::from_millis(1));
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(gate);
        // The vCPU goes on even if `work` panics.
        let _held = Held(self);
        work();
        Ok(())
    }
}

/// A hold, given back with the drop of this.
struct Held<'a>(&'a Pauser);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.gate().holds -= 1;
        self.0.0.1.notify_all();
    }
}

fn kick_signal() -> c_int {
    SIGRTMIN() + 5
}
