//! KVM's dirty rings: each vCPU reports the pages that it writes (Documentation/virt/kvm/api.rst, 8.29).
//!
//! `cursor` has the arithmetic of one ring, `mapped` the ring itself, and `rings` all rings of a VM. `written` has the
//! pages that were harvested, and `reaper` is the thread that keeps the rings from filling up. Dirty memory sees only
//! [`RingLog`].
//!
//! The reaper comes too late if it does not get a processor, and a vCPU that is emulated does not stop at a full ring.
//! So each vCPU is also kicked after some CPU time of its own, and harvests the rings itself when its own ring has
//! passed a watermark.
//!
//! Manual protect is never enabled beside rings: with INITIALLY_SET the first write to a page would not be reported.

mod cursor;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, loom))]
mod loom_vcpu;
mod mapped;
#[cfg(all(test, not(loom)))]
mod model_tests;
mod reaper;
mod ring_vm;
mod rings;
mod vcpus;
mod written;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cursor::Entries;
use mapped::{ENTRY_BYTES, MappedRing, RESERVED_ENTRIES};
#[cfg(feature = "testing")]
pub use reaper::Reaping;
#[cfg(not(feature = "testing"))]
use reaper::Reaping;
use reaper::{Reaper, Wake};
use ring_vm::RingVm;
use rings::Rings;

use super::capabilities::Capabilities;
use super::ioctls::{
    CAP_DIRTY_LOG_RING, CAP_DIRTY_LOG_RING_ACQ_REL, CAP_DIRTY_LOG_RING_WITH_BITMAP, enable_cap, get_dirty_log,
    set_manual_protect,
};
use super::manual_protect::ManualProtect;
use super::slots::{OneLog, SlotTable, Slots};
use crate::block::BlockId;
use crate::dirty_memory::{DirtyLog, Prepared, RingLoss, VcpuLog, VcpuPages};
use crate::error::{Error, Result};
use crate::locks::{Mutex, lock};
use vcpus::hold;
pub use vcpus::{HoldVcpus, RingExits};

/// The watermark is the size of a ring divided by this. A vCPU whose ring has passed it harvests the rings before it
/// goes on.
const WATERMARK: u32 = 2;
/// How often a vCPU looks at its ring, at least, before the ring can reach the watermark.
const LOOKS: u32 = 2;
/// The least time that a vCPU needs for one entry: a first write to a protected page, on the fastest host that we know.
const FASTEST_ENTRY: Duration = Duration::from_nanos(260);
/// The kernel checks clocks of CPU time once per tick, so a shorter time makes no difference.
const SHORTEST_RUN: Duration = Duration::from_millis(1);

/// The dirty rings of a VM.
pub struct RingLog {
    slots: Slots,
    rings: Arc<Mutex<Rings>>,
    vcpus: Arc<dyn HoldVcpus>,
    /// Whether there is a bitmap beside the rings, for writes that no vCPU made.
    with_bitmap: bool,
    wake: Wake,
    _reaper: Reaper,
    /// While this exists, these slots can have no other log.
    _one: OneLog,
}

/// Rings that are enabled, but do not have their vCPUs yet.
pub struct RingSetup {
    slots: Slots,
    entries: u32,
    with_bitmap: bool,
    reaping: Reaping,
    one: OneLog,
}

/// Harvests the rings on the vCPUs' own threads, so that no other thread has to be scheduled first. Clones harvest the
/// same rings.
#[derive(Clone)]
pub struct Watermark(OnVcpus<MappedRing, SlotTable>);

impl RingExits for Watermark {
    fn longest_run(&self) -> Option<Duration> {
        self.0.longest_run()
    }

    fn kicked(&self, vcpu: usize) {
        self.0.kicked(vcpu);
    }

    fn full(&self, vcpu: usize) -> Result<()> {
        self.0.full(vcpu)
    }
}

/// What a [`Watermark`] does, for the rings of any VM, also for the VM of the models.
struct OnVcpus<E, V> {
    rings: Arc<Mutex<Rings<E, V>>>,
    wake: Wake,
    entries: u32,
    reaping: Reaping,
}

impl<E: Entries + Send, V: RingVm> RingExits for OnVcpus<E, V> {
    fn longest_run(&self) -> Option<Duration> {
        (self.reaping != Reaping::Hold && self.wake.is_logging())
            .then(|| (self.entries / WATERMARK / LOOKS * FASTEST_ENTRY).max(SHORTEST_RUN))
    }

    fn kicked(&self, vcpu: usize) {
        let mut rings = lock(&self.rings);
        if vcpu >= rings.vcpus() {
            return rings.saw_stranger();
        }
        if self.reaping == Reaping::Hold || !rings.has_passed(vcpu, self.entries / WATERMARK) {
            return;
        }
        match rings.harvest() {
            Ok(harvested) if harvested.in_step && !harvested.overrun => {}
            // The reaper corrects, and logs, whatever went wrong here.
            Ok(_) | Err(_) => self.wake.full(),
        }
    }

    fn full(&self, vcpu: usize) -> Result<()> {
        {
            let mut rings = lock(&self.rings);
            if vcpu >= rings.vcpus() {
                rings.saw_stranger();
                return Err(Error::NotAttached { vcpu, attached: rings.vcpus() });
            }
            rings.is_full(vcpu);
        }
        self.wake.full();
        Ok(())
    }
}

impl Watermark {
    /// Attaches a vCPU that was made after the others. Call this before the vCPU runs. Returns the number of the vCPU
    /// in the calls of [`RingExits`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a vCPU of a VM without rings of this size, [`Error::Ioctl`] if its ring cannot be
    /// mapped.
    pub fn attach(&self, vcpu: impl AsFd) -> Result<usize> {
        lock(&self.0.rings).attach(vcpu.as_fd(), self.0.entries)
    }
}

impl<E, V> Clone for OnVcpus<E, V> {
    fn clone(&self) -> Self {
        Self { rings: Arc::clone(&self.rings), wake: self.wake.clone(), entries: self.entries, reaping: self.reaping }
    }
}

impl RingSetup {
    /// Enables rings with `entries` entries for the VM that has `slots`. The VM must not have a vCPU yet. If the kernel
    /// has a bitmap beside the rings (arm64), the VM must not have a memory slot either.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a size that some kernels refuse; [`Error::Unsupported`] for a kernel that has no rings,
    /// or only smaller ones; [`Error::OtherLog`] if the VM has a bitmap log; [`Error::LogInUse`] if it has rings
    /// already; [`Error::State`] if it has vCPUs or slots and must not have any.
    pub fn enable(slots: &Slots, capabilities: &Capabilities, entries: u32) -> Result<Self> {
        let page_entries = (capabilities.page_size / ENTRY_BYTES) as u32;
        let most = capabilities.dirty_ring_entries;
        if most == 0 {
            return Err(Error::Unsupported("this kernel has no dirty ring (Linux 5.11, arm64 6.2)".to_owned()));
        }
        let least = page_entries.max(RESERVED_ENTRIES.next_power_of_two());
        if !entries.is_power_of_two() || !(least..=most).contains(&entries) {
            return Err(Error::Argument(format!(
                "a dirty ring of {entries} entries: give a power of two from {least} to {most}"
            )));
        }
        let number = if capabilities.dirty_ring { CAP_DIRTY_LOG_RING } else { CAP_DIRTY_LOG_RING_ACQ_REL };
        let refused = |errno: vmm_sys_util::errno::Error| match errno.errno() {
            // The size was checked above.
            libc::EINVAL => Error::State(
                "the kernel refuses dirty rings to this VM: they are enabled once, and before its first vCPU"
                    .to_owned(),
            ),
            _ => Error::ioctl("KVM_ENABLE_CAP", "the dirty ring", errno),
        };
        let with_bitmap = capabilities.dirty_ring_with_bitmap;
        let bytes = u64::from(entries) * ENTRY_BYTES;
        let one = slots.lock().enable_log("dirty ring", |vm| {
            // The VMM may have turned it on.
            set_manual_protect(vm, ManualProtect::None)?;
            enable_cap(vm, number, bytes).map_err(refused)
        })?;
        if with_bitmap {
            // The kernel enables it only before the first slot, so that every slot has a bitmap
            // (`kvm_vm_ioctl_enable_cap_generic`).
            enable_cap(slots.lock().vm(), CAP_DIRTY_LOG_RING_WITH_BITMAP, 0).map_err(|errno| match errno.errno() {
                libc::EINVAL => {
                    Error::State("dirty rings are enabled before the first slot is set, on this kernel".to_owned())
                }
                _ => refused(errno),
            })?;
        }
        let (slots, reaping) = (slots.clone(), Reaping::Run);
        Ok(Self { slots, entries, with_bitmap, reaping, one })
    }

    /// Sets when the rings are harvested, for tests.
    #[cfg(feature = "testing")]
    pub fn with_reaping(self, reaping: Reaping) -> Self {
        Self { reaping, ..self }
    }

    /// Maps the rings of the VM's vCPUs, in the order of their ids, and starts the reaper. `hold` stops these vCPUs.
    /// Tell the [`Watermark`] each time when KVM_RUN of a vCPU ends because of a kick or a full ring, and attach vCPUs
    /// that are made later to it.
    ///
    /// If a vCPU of this VM is not attached, its writes are missing from every window. The kernel does not say to which
    /// VM a vCPU belongs, so this function also accepts a vCPU of another VM with rings of the same size, and never
    /// harvests it.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a vCPU of a VM without rings of this size; [`Error::Ioctl`] if a ring cannot be mapped,
    /// or the reaper cannot be started.
    pub fn attach(
        self,
        vcpus: impl IntoIterator<Item = impl AsFd>,
        hold: impl HoldVcpus + 'static,
    ) -> Result<(RingLog, Watermark)> {
        let mut rings = Rings::new(self.slots.table());
        vcpus.into_iter().try_for_each(|vcpu| rings.attach(vcpu.as_fd(), self.entries).map(drop))?;
        let rings = Arc::new(Mutex::new(rings));
        let wake = Wake::default();
        let hold: Arc<dyn HoldVcpus> = Arc::new(hold);
        let reaper = Reaper::start(Arc::clone(&rings), Arc::clone(&hold), wake.clone(), self.reaping, self.entries)?;
        let watermark = Watermark(OnVcpus {
            rings: Arc::clone(&rings),
            wake: wake.clone(),
            entries: self.entries,
            reaping: self.reaping,
        });
        let log = RingLog {
            slots: self.slots,
            rings,
            vcpus: hold,
            with_bitmap: self.with_bitmap,
            wake,
            _reaper: reaper,
            _one: self.one,
        };
        Ok((log, watermark))
    }
}

impl RingLog {
    /// Takes the entries of blocks whose log was turned off out of the rings. If the number of such a block's slot is
    /// used again, these entries would otherwise count as writes to the new block.
    fn take_out_stale(&self) -> Result<()> {
        if lock(&self.rings).take_out_stale()? {
            return Ok(());
        }
        // The rings may be out of step with the kernel, which can be corrected only while no vCPU writes.
        hold(&*self.vcpus, || lock(&self.rings).harvest_stopped())?.map(drop)
    }

    /// Makes the reaper and the vCPUs harvest the rings while a block is logged, and only then.
    fn look_after(&self) {
        let logging = self.slots.lock().any_logged();
        if logging == self.wake.is_logging() {
            return;
        }
        self.wake.set_logging(logging);
        if logging {
            // When a vCPU enters KVM_RUN again, it asks for its longest run.
            if let Err(error) = hold(&*self.vcpus, || ()) {
                tracing::warn!(%error, "the vCPUs could not be stopped: only the reaper looks after their dirty rings");
            }
        }
    }
}

/// Ends the current window of all vCPUs, and begins the next one.
fn draw_edge<E: Entries, V: RingVm>(rings: &Mutex<Rings<E, V>>, vcpus: &dyn HoldVcpus) -> Result<Prepared> {
    let began = Instant::now();
    hold(vcpus, || {
        let closed = Instant::now();
        let mut rings = lock(rings);
        rings.harvest_stopped()?;
        rings.close_window()?;
        let opened = Instant::now();
        Ok(Prepared { closed, opened, took: opened - began })
    })?
}

impl DirtyLog for RingLog {
    fn pages(&self, block: BlockId) -> Option<u64> {
        self.slots.lock().pages(block)
    }

    fn page_size(&self) -> Option<u64> {
        Some(self.slots.lock().page_size())
    }

    fn forget(&mut self, block: BlockId) {
        lock(&self.rings).forget(block);
    }

    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        if on {
            self.take_out_stale()?;
            self.slots.lock().set_logging(block, true)?;
            self.look_after();
            return Ok(());
        }
        self.slots.lock().set_logging(block, false)?;
        self.look_after();
        // Entries of a block belong to the time in which its log was on, also those that are still in a ring.
        lock(&self.rings).log_went_off();
        if let Err(error) = self.take_out_stale() {
            tracing::warn!(%error, "the dirty rings could not be harvested; that is tried again before the next log goes on");
        }
        lock(&self.rings).forget(block);
        Ok(())
    }

    fn initially_set(&self) -> bool {
        false
    }

    fn fetch_reprotects(&self) -> bool {
        true
    }

    fn vcpu_log(&mut self) -> Option<&mut dyn VcpuLog> {
        Some(self)
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        into.fill(0);
        // The bitmap is read after the window has ended, while the vCPUs run. A write of a device of the kernel in
        // between counts for the window that has ended, so a client that takes its bits misses no write.
        if self.with_bitmap {
            let slots = self.slots.lock();
            let (slot, pages, name) = slots.lookup(block)?;
            get_dirty_log(&slots.vm(), slot, pages, into, name)?;
        }
        lock(&self.rings).set_in(block, into);
        Ok(())
    }

    fn reprotect(&mut self, _: BlockId, _: u64, _: u64, _: &[u64]) -> Result<()> {
        Err(Error::State("the RESET of a dirty ring protects its pages already".to_owned()))
    }
}

impl VcpuLog for RingLog {
    /// Takes every vCPU out of KVM_RUN, which empties the hardware's buffers into the rings, and harvests the rings
    /// while the vCPUs are stopped. So nothing is written between the end of one window and the beginning of the next.
    fn prepare(&mut self) -> Result<Prepared> {
        draw_edge(&self.rings, &*self.vcpus)
    }

    fn vcpus(&self) -> usize {
        lock(&self.rings).vcpus()
    }

    fn visit(&self, block: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()> {
        lock(&self.rings).visit(block, visit)
    }

    fn forget_pages(&mut self, block: BlockId) {
        lock(&self.rings).forget_ready(block);
    }

    fn take_loss(&mut self) -> RingLoss {
        lock(&self.rings).take_loss()
    }
}
