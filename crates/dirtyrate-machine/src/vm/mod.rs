//! A VM: its RAM blocks, its vCPUs and its dirty memory, kept in step with each other.

mod block_layout;
mod block_spec;
mod block_watch;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use block_layout::{Layout, Memory};
pub use block_spec::{BlockSpec, check_layout};
pub use block_watch::{BlockChange, BlockWatch};
use dirtyrate::BlockInfo;
use dirtyrate::bitmap::Kernels;
use dirtyrate::dirty_memory::{DEFAULT_CLEAR_CHUNK_BYTES, DirtyLog, DirtyMemory, LockedBits, SharedBits};
use dirtyrate::kvm::capabilities::{DEFAULT_KVM_PATH, open_kvm};
use dirtyrate::kvm::dirty_ring::{Reaping, RingSetup};
use dirtyrate::kvm::{BitmapLog, Capabilities, ManualProtect, Slots, uninterrupted, vcpu_fd, vm_fd};
use dirtyrate::locks::{Mutex, MutexGuard, lock};
use dirtyrate::{Error, GuestClock, Result};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

use crate::arch;
use crate::vcpu::Vcpus;

/// The one exact source of dirty bits that a VM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// A bitmap with this state of manual protect; `None` for the best state that the kernel has.
    Bitmap(Option<ManualProtect>),
    /// A ring for each vCPU.
    Ring {
        /// How many entries each ring has: a power of two.
        entries: u32,
        /// When they are harvested.
        reaping: Reaping,
    },
}

impl Default for LogKind {
    fn default() -> Self {
        Self::Bitmap(None)
    }
}

/// How to make a VM.
#[derive(Debug, Clone)]
pub struct VmOptions {
    /// The path of KVM's device.
    pub kvm_path: PathBuf,
    /// The source of dirty bits.
    pub log: LogKind,
    /// How much guest memory one CLEAR protects again at most.
    pub clear_chunk_bytes: u64,
}

impl Default for VmOptions {
    fn default() -> Self {
        Self {
            kvm_path: PathBuf::from(DEFAULT_KVM_PATH),
            log: LogKind::default(),
            clear_chunk_bytes: DEFAULT_CLEAR_CHUNK_BYTES,
        }
    }
}

/// A VM. All methods can be called from any thread; dropping it stops and joins everything.
pub struct Vm {
    // Fields are dropped in this order: first the vCPUs, last the memory on which they run.
    vcpus: Option<Vcpus>,
    /// Not set until the vCPUs exist, if the VM has rings, because the log is made from their rings.
    dirty_memory: OnceLock<Mutex<DirtyMemory>>,
    dirty_bits: OnceLock<SharedBits>,
    ring_setup: Option<RingSetup>,
    slots: Slots,
    fd: Arc<VmFd>,
    /// For readers that must not wait for a sync.
    layout: RwLock<Layout>,
    kvm: Kvm,
    capabilities: Capabilities,
    clear_chunk_bytes: u64,
    manual_protect: ManualProtect,
    ring_entries: u32,
    /// Set by the vCPUs, read by the dirty memory.
    clock: GuestClock,
}

impl Vm {
    /// Makes a VM without memory and without vCPUs. On a VM with rings, vCPUs must be made before memory is added.
    ///
    /// # Errors
    ///
    /// Those of [`Capabilities::probe`]; [`Error::Unsupported`] for a kernel without KVM_CAP_IMMEDIATE_EXIT or the
    /// manual protect that was asked for; those of [`Kernels::choose`].
    pub fn new(options: &VmOptions) -> Result<Self> {
        // If `DIRTYRATE_BACKEND` forces a backend that this CPU cannot run, it is refused here, and not in the middle
        // of a sync.
        Kernels::choose()?;
        let kvm = open_kvm(&options.kvm_path)?;
        let capabilities = Capabilities::of(&kvm);
        if !capabilities.immediate_exit {
            let text = "this kernel has no KVM_CAP_IMMEDIATE_EXIT (Linux 4.13): a vCPU cannot be stopped safely";
            return Err(Error::Unsupported(text.to_owned()));
        }
        let fd = uninterrupted(|| kvm.create_vm()).map_err(|errno| Error::ioctl("KVM_CREATE_VM", "", errno))?;
        let fd = Arc::new(fd);
        arch::prepare_vm(&fd)?;
        let slots = Slots::new(vm_fd(&fd), capabilities.memory_slots)?;
        let mut vm = Self {
            vcpus: None,
            dirty_memory: OnceLock::new(),
            ring_setup: None,
            dirty_bits: OnceLock::new(),
            slots: slots.clone(),
            fd,
            layout: RwLock::default(),
            kvm,
            capabilities,
            clear_chunk_bytes: options.clear_chunk_bytes,
            manual_protect: ManualProtect::None,
            ring_entries: 0,
            clock: GuestClock::new(),
        };
        match options.log {
            LogKind::Bitmap(protect) => {
                let log = match protect {
                    Some(protect) => BitmapLog::with_manual_protect(&slots, &vm.capabilities, protect)?,
                    None => BitmapLog::new(&slots, &vm.capabilities)?,
                };
                vm.manual_protect = log.manual_protect();
                vm.set_log(Box::new(log));
            }
            LogKind::Ring { entries, reaping } => {
                vm.ring_setup = Some(RingSetup::enable(&slots, &vm.capabilities, entries)?.with_reaping(reaping));
                vm.ring_entries = entries;
            }
        }
        Ok(vm)
    }

    fn set_log(&mut self, log: Box<dyn DirtyLog>) {
        let dirty_memory =
            DirtyMemory::with_clock(log, self.capabilities.page_size, self.clear_chunk_bytes, self.clock.clone());
        self.dirty_bits = OnceLock::from(dirty_memory.shared_bits());
        self.dirty_memory = OnceLock::from(Mutex::new(dirty_memory));
    }

    /// Makes the VM's vCPUs, numbered from 0. Call this once, after everything that must come before vCPUs, such as an
    /// interrupt controller in the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for 0 or more than the kernel allows.
    pub fn create_vcpus(&mut self, count: u32) -> Result<()> {
        let limit = self.capabilities.vcpus;
        if count == 0 || count as usize > limit {
            return Err(Error::Argument(format!("{count} vCPUs: this kernel takes 1 to {limit}")));
        }
        let create = |id: u32| {
            uninterrupted(|| self.fd.create_vcpu(id.into()))
                .map_err(|errno| Error::ioctl("KVM_CREATE_VCPU", format!("vCPU {id}"), errno))
        };
        let vcpus = (0..count).map(create).collect::<Result<Vec<VcpuFd>>>()?;
        arch::prepare_vcpus(&self.kvm, &self.fd, &vcpus)?;
        // The rings are mapped from the vCPUs' descriptors, before the vCPUs go to their threads.
        let setup = self.ring_setup.take();
        let wrapped = Vcpus::new(&self.fd, vcpus, self.clock.clone())?;
        if let Some(setup) = setup {
            let (log, exits) =
                wrapped.set_up_with(|vcpus| setup.attach(vcpus.iter().map(vcpu_fd), wrapped.holder()))?;
            wrapped.set_ring_exits(exits);
            self.set_log(Box::new(log));
        }
        self.vcpus = Some(wrapped);
        Ok(())
    }

    /// The vCPUs.
    ///
    /// # Errors
    ///
    /// [`Error::State`] before [`create_vcpus`](Self::create_vcpus).
    pub fn vcpus(&self) -> Result<&Vcpus> {
        self.vcpus.as_ref().ok_or_else(|| Error::State("the virtual machine has no vCPUs yet".to_owned()))
    }

    /// The VM's descriptor, for devices in the kernel. It is not public, because a descriptor that outlived the VM
    /// could run a vCPU on memory that is gone.
    pub(crate) fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// What this kernel can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The state of manual protect that was set.
    pub fn manual_protect(&self) -> ManualProtect {
        self.manual_protect
    }

    /// Entries in each vCPU's dirty ring; 0 for a VM with a bitmap.
    pub fn ring_entries(&self) -> u32 {
        self.ring_entries
    }

    /// Locks the dirty memory. This waits for a sync that is under way.
    ///
    /// # Errors
    ///
    /// [`Error::State`] for a VM with rings before [`create_vcpus`](Self::create_vcpus).
    pub fn try_lock_dirty_memory(&self) -> Result<MutexGuard<'_, DirtyMemory>> {
        let dirty_memory = self.dirty_memory.get().ok_or_else(|| {
            Error::State("a virtual machine with dirty rings has no memory before its vCPUs".to_owned())
        })?;
        Ok(lock(dirty_memory))
    }

    /// Does what [`try_lock_dirty_memory`](Self::try_lock_dirty_memory) does, for a VM that has its vCPUs, or that has
    /// a bitmap.
    ///
    /// # Panics
    ///
    /// On a VM with rings before [`create_vcpus`](Self::create_vcpus).
    pub fn lock_dirty_memory(&self) -> MutexGuard<'_, DirtyMemory> {
        self.try_lock_dirty_memory().expect("the vCPUs are there")
    }

    /// Locks the bits of the clients. This does not wait for a sync. The caller must not lock anything else of this VM
    /// meanwhile.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`lock_dirty_memory`](Self::lock_dirty_memory).
    pub fn lock_dirty_bits(&self) -> LockedBits<'_> {
        self.dirty_bits().lock()
    }

    /// What the clients have.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`lock_dirty_memory`](Self::lock_dirty_memory).
    pub fn dirty_bits(&self) -> &SharedBits {
        self.dirty_bits.get().expect("the vCPUs are there")
    }

    /// The guest's memory as it is now. A removed block stays mapped as long as a caller has this.
    pub fn memory(&self) -> Memory {
        self.read_layout().memory()
    }

    /// The memory and its blocks at one instant, and a watch that records the changes from then on.
    pub fn watch_blocks(&self) -> (Memory, Vec<BlockInfo>, Arc<BlockWatch>) {
        let mut layout = self.write_layout();
        let watch = layout.watch();
        (layout.memory(), layout.blocks().cloned().collect(), watch)
    }

    /// The blocks, by guest address.
    pub fn blocks(&self) -> Vec<BlockInfo> {
        self.read_layout().blocks().cloned().collect()
    }

    /// Adds a RAM block, also while the VM runs and is being measured. The vCPUs are held until the block's log is on
    /// and its first round is over, so that no write to the block is missed.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`], which names the block; [`Error::Memory`]; the kernel's error. The VM is as before then.
    pub fn add_block(&self, spec: &BlockSpec) -> Result<BlockInfo> {
        // Dirty memory is locked before the vCPUs are held, so that the guest goes on while this waits for a sync.
        let mut dirty_memory = self.try_lock_dirty_memory()?;
        self.held(|| self.add_block_held(&mut dirty_memory, spec))?
    }

    fn add_block_held(&self, dirty_memory: &mut DirtyMemory, spec: &BlockSpec) -> Result<BlockInfo> {
        let page_size = self.capabilities.page_size;
        let others = self.read_layout().blocks_beside(spec).map(|block| spec_of(block, page_size)).collect::<Vec<_>>();
        check_layout(spec, &others, page_size, self.capabilities.guest_address_end)?;
        let region = Arc::new(block_spec::reserve(spec)?);
        // SAFETY: the region goes into the layout below, which is dropped after the vCPU threads have ended, or never
        // (`Drop`): a descriptor that outlives them, such as that of a `Holder`, runs no vCPU. If the region does not
        // get there, its slot is removed again, or it is never unmapped.
        let info = unsafe { self.slots.add(&spec.name, &region) }?;
        if let Err(error) = dirty_memory.add_block(info.clone()) {
            if let Err(second) = self.slots.remove(info.id) {
                tracing::error!(error = %second, block = spec.name, "a slot stays behind, and its memory with it");
                std::mem::forget(region);
            }
            return Err(error);
        }
        self.write_layout().add(info.clone(), region);
        Ok(info)
    }

    /// Removes a block. The vCPUs are held while its last bits are fetched, and the bits are kept until every client
    /// has taken them.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there is no such block; the kernel's error. The block still exists then.
    pub fn remove_block(&self, name: &str) -> Result<()> {
        let mut dirty_memory = self.try_lock_dirty_memory()?;
        self.held(|| self.remove_block_held(&mut dirty_memory, name))?
    }

    fn remove_block_held(&self, dirty_memory: &mut DirtyMemory, name: &str) -> Result<()> {
        let block = dirty_memory.bits().existing_block(name)?.clone();
        dirty_memory.remove_block(name, || self.slots.remove(block.id))?;
        self.write_layout().remove(block.guest_address);
        Ok(())
    }

    /// Whether there is RAM at all these addresses.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if not.
    pub fn check_memory(&self, guest_address: u64, bytes: u64) -> Result<()> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        let is_ram = self.memory().check_range(GuestAddress(guest_address), length);
        if is_ram { Ok(()) } else { Err(not_ram(guest_address, length)) }
    }

    /// Reads guest memory. The guest may write to it meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for addresses where there is no RAM.
    pub fn read_memory(&self, guest_address: u64, into: &mut [u8]) -> Result<()> {
        let length = into.len();
        self.memory().read_slice(into, GuestAddress(guest_address)).map_err(|_| not_ram(guest_address, length))
    }

    /// Writes guest memory, and marks the pages for every client that tracks: KVM's log does not see the host.
    ///
    /// # Errors
    ///
    /// Those of [`read_memory`](Self::read_memory); nothing is written then.
    pub fn write_memory(&self, guest_address: u64, bytes: &[u8]) -> Result<()> {
        // The layout stays locked until the pages are marked, so that the mark is for the written block, and not for a
        // new block at the same address.
        let layout = self.read_layout();
        let memory = layout.memory();
        if !memory.check_range(GuestAddress(guest_address), bytes.len()) {
            return Err(not_ram(guest_address, bytes.len()));
        }
        let written = memory.write_slice(bytes, GuestAddress(guest_address));
        self.lock_dirty_bits().mark_host_write(guest_address, bytes.len() as u64);
        written.map_err(|_| not_ram(guest_address, bytes.len()))
    }

    /// Makes guest memory zero, and marks the pages as a write does. Memory that is zero already is not touched, so
    /// that it takes no memory of the host.
    ///
    /// # Errors
    ///
    /// Those of [`read_memory`](Self::read_memory); nothing is written then.
    pub(crate) fn zero_memory(&self, guest_address: u64, length: u64) -> Result<()> {
        let layout = self.read_layout();
        let memory = layout.memory();
        let refuse = || not_ram(guest_address, length as usize);
        let bytes = usize::try_from(length).map_err(|_| refuse())?;
        let slices: std::result::Result<Vec<_>, _> = memory.get_slices(GuestAddress(guest_address), bytes).collect();
        for slice in slices.map_err(|_| refuse())? {
            zero(&slice, self.capabilities.page_size as usize);
        }
        self.lock_dirty_bits().mark_host_write(guest_address, length);
        Ok(())
    }

    fn read_layout(&self) -> RwLockReadGuard<'_, Layout> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_layout(&self) -> RwLockWriteGuard<'_, Layout> {
        self.layout.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn held<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        match &self.vcpus {
            Some(vcpus) => vcpus.hold(work),
            None => Ok(work()),
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let Some(vcpus) = &self.vcpus else { return };
        if let Err(error) = vcpus.shutdown() {
            // A vCPU that cannot be stopped may still write to this memory. So it is never unmapped, and no other code
            // can get it.
            tracing::error!(%error, "the guest's memory stays mapped");
            std::mem::forget(self.memory());
        }
    }
}

fn spec_of(block: &BlockInfo, page_size: u64) -> BlockSpec {
    BlockSpec { name: block.name.clone(), guest_address: block.guest_address, bytes: block.pages * page_size }
}

/// Makes a part of a block's memory zero.
fn zero(slice: &VolatileSlice, page_size: usize) {
    let guard = slice.ptr_guard_mut();
    let address = guard.as_ptr().addr();
    let end = address + slice.len();
    // The whole pages in the range.
    let pages = address.next_multiple_of(page_size).min(end)..(end / page_size * page_size).max(address);
    let given_back = pages.start < pages.end && {
        // SAFETY: these pages are in the slice, which is in a mapping of `reserve`: private and anonymous, so that what
        // is given back reads as zeros. Nobody has a reference to guest memory.
        let refused = unsafe {
            libc::madvise(
                guard.as_ptr().add(pages.start - address).cast(),
                pages.end - pages.start,
                libc::MADV_DONTNEED,
            )
        };
        // The kernel refuses this if the process has locked all of its memory.
        refused == 0
    };
    let rest = if given_back { [address..pages.start, pages.end..end] } else { [address..end, end..end] };
    for part in rest {
        let mut at = part.start;
        while at < part.end {
            let piece = (part.end - at).min(page_size);
            let mut bytes = vec![0; piece];
            // Both ranges are inside the slice.
            if slice.read_slice(&mut bytes, at - address).is_ok() && bytes.iter().any(|&byte| byte != 0) {
                bytes.fill(0);
                let _ = slice.write_slice(&bytes, at - address);
            }
            at += piece;
        }
    }
}

fn not_ram(guest_address: u64, length: usize) -> Error {
    Error::Argument(format!("{length} bytes at {guest_address:#x} are not all in RAM blocks"))
}
