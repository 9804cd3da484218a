//! RAM blocks as KVM memory slots. Slot numbers are used only inside; callers name a block by its name and its
//! [`BlockId`].

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, kvm_userspace_memory_region};
use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap, MmapRegion};

use super::ioctls::set_user_memory_region;
use crate::block::{BlockId, BlockInfo};
use crate::error::{Error, Result};
use crate::locks::{Mutex, MutexGuard, lock};
use crate::page_size::host_page_size;

/// One memory slot.
#[derive(Debug, Clone)]
struct Slot {
    /// The block's name, for errors.
    name: String,
    region: kvm_userspace_memory_region,
    /// Whether the log is on, as the last call that succeeded left it.
    logged: bool,
    /// Whether a call that changes the log has failed since then, so that the kernel's log may be in the other state.
    uncertain: bool,
}

/// What a ring entry with this slot stands for: a page of `block`, if the page number is below `pages`.
#[derive(Debug, Clone, Copy)]
struct LoggedSlot {
    block: BlockId,
    /// 0 while the slot's log is off.
    pages: u64,
}

/// Says that the slots of a VM have a log, until this is dropped. A VM's slots can have only one.
#[derive(Debug)]
pub(super) struct OneLog(#[allow(dead_code, reason = "its reference count is what is asked for")] Arc<()>);

/// The kind of dirty log that was enabled for a VM.
#[derive(Debug)]
struct Enabled {
    log: &'static str,
    /// Whether this log is in use.
    used: Weak<()>,
}

/// The slots of a VM. Clones are handles to the same slots.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Mutex<SlotTable>>);

/// The table of the known slots.
#[derive(Debug)]
pub(super) struct SlotTable {
    vm: OwnedFd,
    page_size: u64,
    limit: usize,
    /// The number of the last block that got a slot. Each block gets the next number.
    blocks: u64,
    by_block: BTreeMap<BlockId, Slot>,
    numbers: Numbers,
    /// For each slot number, what a ring entry with this slot stands for.
    entries: Vec<LoggedSlot>,
    /// How many blocks are logged.
    logged: usize,
    /// The kind of log that was enabled. It stays the kind of this VM, because the kernel cannot undo it.
    log: Option<Enabled>,
}

/// Which slot numbers are taken.
#[derive(Debug, Default)]
struct Numbers {
    taken: BTreeSet<u32>,
    /// Numbers below `next` that were given back.
    free: BTreeSet<u32>,
    /// No number from here on was given out, but the VMM may use some of these numbers itself.
    next: u32,
}

impl Numbers {
    /// The lowest number that is not taken.
    fn lowest(&mut self) -> u32 {
        if let Some(free) = self.free.first() {
            return *free;
        }
        while self.taken.contains(&self.next) {
            self.next += 1;
        }
        self.next
    }

    fn take(&mut self, number: u32) {
        self.taken.insert(number);
        self.free.remove(&number);
    }

    fn give_back(&mut self, number: u32) {
        if self.taken.remove(&number) && number < self.next {
            self.free.insert(number);
        }
    }
}

impl Slots {
    /// Makes the table of the slots of a VM, which is empty at first. `limit` is KVM_CAP_NR_MEMSLOTS. The descriptor is
    /// duplicated, so that the VMM can keep or close its own descriptor. The VM lives until both are closed.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if this process may have no more open files.
    pub fn new(vm: impl AsFd, limit: usize) -> Result<Self> {
        let vm = vm
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| Error::refused("fcntl(F_DUPFD_CLOEXEC)", "a VM's descriptor", source))?;
        Ok(Self(Arc::new(Mutex::new(SlotTable {
            vm,
            page_size: host_page_size(),
            limit,
            blocks: 0,
            by_block: BTreeMap::new(),
            numbers: Numbers::default(),
            entries: Vec::new(),
            logged: 0,
            log: None,
        }))))
    }

    /// How many more slots can be added.
    pub fn available(&self) -> usize {
        self.lock().available()
    }

    /// Gives a new block a slot that maps `memory`. Returns the block's description, for
    /// [`DirtyMemory::add_block`](crate::dirty_memory::DirtyMemory::add_block).
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if the VM has no slot left, [`Error::Ioctl`] if the kernel refuses.
    ///
    /// # Safety
    ///
    /// `memory` must stay mapped until the block is removed or the VM is gone. The VM is gone when the last descriptor
    /// of the VM and of its vCPUs is closed. Until then no other code may set a slot with the same number, because the
    /// kernel would then write a log of another size than the buffer has.
    pub unsafe fn add<B: Bitmap>(&self, name: &str, memory: &GuestRegionMmap<B>) -> Result<BlockInfo> {
        let mut table = self.lock();
        if table.available() == 0 {
            let problem = format!("too many blocks: this kernel has {} memory slots", table.limit);
            return Err(Error::Layout { block: name.to_owned(), problem });
        }
        let region = kvm_userspace_memory_region {
            slot: table.numbers.lowest(),
            flags: 0,
            guest_phys_addr: memory.start_addr().0,
            memory_size: memory.len(),
            userspace_addr: memory.get_mmap().as_ptr() as u64,
        };
        table.make_room(region.slot)?;
        table.set(&region, || format!("block '{name}'"))?;
        Ok(table.insert(name, region))
    }

    /// Adds a slot that the VMM has set itself; `region` is what the VMM has set. From now on only this table may turn
    /// the log of the slot on and off; the other flags of the slot stay as they are. The slot is set once more to
    /// `region`, which does not change it.
    ///
    /// Returns the description of the block, for
    /// [`DirtyMemory::add_block`](crate::dirty_memory::DirtyMemory::add_block).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the number of the slot is already in this table, if its log is on, if no slot has the
    /// memory at this guest address, or if the kernel's slot differs from `region` in its size, its memory, or in being
    /// read-only; [`Error::Ioctl`] if the kernel refuses for another reason.
    ///
    /// KVM cannot be asked which slots it has. So the kernel is asked for one more slot over the first page, with the
    /// highest number that this table does not know: it refuses that slot unless the page is free. If the page is free,
    /// the guest has a page of zeros there until the slot is deleted at once. If the VMM uses that number itself, the
    /// kernel refuses it in any case, and a missing slot is not noticed, but made.
    ///
    /// # Safety
    ///
    /// `region` must be what the slot was set to last. Its memory must stay mapped until the block is removed here or
    /// the VM is gone. Until then no other code may set this slot, change its size or delete it, because the kernel
    /// would then write a log of another size than the buffer has.
    pub unsafe fn adopt(&self, name: &str, region: kvm_userspace_memory_region) -> Result<BlockInfo> {
        let mut table = self.lock();
        let refuse = |problem: &str| Err(Error::Argument(format!("slot {} of block '{name}' {problem}", region.slot)));
        if table.numbers.taken.contains(&region.slot) {
            return refuse("is known already");
        }
        if region.flags & KVM_MEM_LOG_DIRTY_PAGES != 0 {
            return refuse(
                "has its dirty log on: turn that off first, because the code that turned it on would miss what is fetched here",
            );
        }
        if region.memory_size == 0 {
            return refuse("has a size of 0 bytes: the kernel would delete it");
        }
        let not_there =
            "is not in the kernel as it is given here: give the number, size, memory and flags with which it was set";
        if table.is_free(&region)? {
            return refuse(not_there);
        }
        // These fields of an existing slot cannot be changed, so the kernel answers EINVAL if one differs. If there is
        // no slot of this number, the kernel makes it, unless another slot has its guest addresses: EEXIST
        // (`kvm_set_memory_region`).
        match table.set(&region, || format!("block '{name}' taken in")) {
            Err(Error::Ioctl { source, .. }) if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EEXIST)) => {
                return refuse(not_there);
            }
            set => set?,
        }
        table.make_room(region.slot)?;
        Ok(table.insert(name, region))
    }

    /// Deletes the slot of a block. The guest cannot reach this memory any more, and the log of the block is gone.
    ///
    /// # Errors
    ///
    /// [`Error::NoSlot`]; [`Error::Ioctl`] if the kernel refuses, and then the slot is as before.
    pub fn remove(&self, block: BlockId) -> Result<()> {
        self.lock().remove(block)
    }

    /// Turns the kernel's dirty log of a block on or off. `BitmapLog` and `RingLog` call this themselves.
    ///
    /// # Errors
    ///
    /// [`Error::NoSlot`]; [`Error::Ioctl`] if the kernel refuses. Then the log counts as before. If it should have been
    /// turned on, the kernel was asked to turn it off again.
    pub fn set_logging(&self, block: BlockId, on: bool) -> Result<()> {
        self.lock().set_logging(block, on)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotTable> {
        lock(&self.0)
    }

    /// The table itself, for the logs that share it.
    pub(super) fn table(&self) -> Arc<Mutex<SlotTable>> {
        Arc::clone(&self.0)
    }
}

impl SlotTable {
    /// The VM that has these slots.
    pub fn vm(&self) -> BorrowedFd<'_> {
        self.vm.as_fd()
    }

    /// Calls `enable`, which turns on what a kind of log needs from the kernel. A VM keeps this kind of log, because
    /// the kernel cannot undo it, and because manual protect beside rings would lose writes. The log has to keep the
    /// returned value as long as it is in use.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLog`] if these slots have another kind of log, [`Error::LogInUse`] if one of the same kind is in
    /// use; those of `enable`.
    pub fn enable_log(
        &mut self,
        log: &'static str,
        enable: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<OneLog> {
        if let Some(there) = &self.log {
            if there.log != log {
                return Err(Error::OtherLog { there: there.log, asked: log });
            }
            if there.used.strong_count() > 0 {
                return Err(Error::LogInUse { log });
            }
        }
        enable(self.vm())?;
        let one = Arc::new(());
        self.log = Some(Enabled { log, used: Arc::downgrade(&one) });
        Ok(OneLog(one))
    }

    /// Bytes in a page of every slot and of its log: the host's page size.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// How many pages a block has.
    pub fn pages(&self, block: BlockId) -> Option<u64> {
        self.lookup(block).ok().map(|(_, pages, _)| pages)
    }

    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.by_block.len())
    }

    /// Makes room for a slot number in `entries`.
    fn make_room(&mut self, number: u32) -> Result<()> {
        let more = (number as usize + 1).saturating_sub(self.entries.len());
        let bytes = more * size_of::<LoggedSlot>();
        self.entries.try_reserve(more).map_err(|_| Error::OutOfMemory { what: "the memory slots", bytes })?;
        self.entries.extend(std::iter::repeat_n(LoggedSlot { block: BlockId(0), pages: 0 }, more));
        Ok(())
    }

    fn insert(&mut self, name: &str, region: kvm_userspace_memory_region) -> BlockInfo {
        self.numbers.take(region.slot);
        self.blocks += 1;
        let id = BlockId(self.blocks);
        self.by_block.insert(id, Slot { name: name.to_owned(), region, logged: false, uncertain: false });
        let pages = region.memory_size / self.page_size;
        BlockInfo { id, name: name.to_owned(), guest_address: region.guest_phys_addr, pages }
    }

    pub fn remove(&mut self, block: BlockId) -> Result<()> {
        let slot = self.slot(block)?;
        let gone = kvm_userspace_memory_region { memory_size: 0, ..slot.region };
        self.set(&gone, || format!("removal of block '{}'", slot.name))?;
        self.note_logged(block, false);
        self.by_block.remove(&block);
        self.numbers.give_back(gone.slot);
        Ok(())
    }

    pub fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        let slot = self.slot(block)?;
        if on && slot.uncertain {
            // If the log is on already, turning it on would begin no first round. So it is turned off first.
            self.set_flag(slot, false)?;
        }
        let outcome = self.set_flag(slot, on);
        let mut uncertain = outcome.is_err();
        if on && uncertain && !slot.logged {
            uncertain = self.set_flag(slot, false).is_err();
        }
        if let Some(slot) = self.by_block.get_mut(&block) {
            slot.uncertain = uncertain;
        }
        outcome?;
        self.note_logged(block, on);
        Ok(())
    }

    fn note_logged(&mut self, block: BlockId, on: bool) {
        let Some(slot) = self.by_block.get_mut(&block) else { return };
        self.logged = self.logged + usize::from(on) - usize::from(slot.logged);
        slot.logged = on;
        let pages = if on { slot.region.memory_size / self.page_size } else { 0 };
        self.entries[slot.region.slot as usize] = LoggedSlot { block, pages };
    }

    /// Turns every dirty log that is on off and on again, so that the kernel protects all pages again.
    ///
    /// # Errors
    ///
    /// [`Error::Ioctl`] if the kernel refuses. Then the log of a block may be off in the kernel until this or
    /// [`set_logging`](Self::set_logging) succeeds.
    pub fn restart_logging(&mut self) -> Result<()> {
        let restart = |slot: &Slot| {
            self.set_flag(slot, false)?;
            self.set_flag(slot, true)
        };
        let failed = self
            .by_block
            .iter()
            .filter(|(_, slot)| slot.logged)
            .find_map(|(block, slot)| restart(slot).err().map(|error| (*block, error)));
        let Some((block, error)) = failed else { return Ok(()) };
        if let Some(slot) = self.by_block.get_mut(&block) {
            slot.uncertain = true;
        }
        Err(error)
    }

    fn set_flag(&self, slot: &Slot, on: bool) -> Result<()> {
        let flags = if on { KVM_MEM_LOG_DIRTY_PAGES } else { 0 };
        let region = kvm_userspace_memory_region { flags: slot.region.flags | flags, ..slot.region };
        self.set(&region, || format!("dirty log of block '{}' {}", slot.name, if on { "on" } else { "off" }))
    }

    /// The block of a slot whose log is on, and how many pages it has.
    pub fn logged(&self, slot: u32) -> Option<(BlockId, u64)> {
        let LoggedSlot { block, pages } = *self.entries.get(slot as usize)?;
        (pages > 0).then_some((block, pages))
    }

    /// Whether any block is logged.
    pub fn any_logged(&self) -> bool {
        self.logged > 0
    }

    /// A block's slot number, page count and name, for the ioctls of its log.
    pub fn lookup(&self, block: BlockId) -> Result<(u32, u64, &str)> {
        self.slot(block).map(|slot| (slot.region.slot, slot.region.memory_size / self.page_size, slot.name.as_str()))
    }

    fn slot(&self, block: BlockId) -> Result<&Slot> {
        self.by_block.get(&block).ok_or_else(|| Error::NoSlot { block: block.0 })
    }

    /// Whether no slot has the first page of `region`, so that the slot of `region` cannot be there. `false` also if
    /// this cannot be found out.
    fn is_free(&self, region: &kvm_userspace_memory_region) -> Result<bool> {
        // The upper half of a number is the address space.
        let (space, limit) = (region.slot & !0xffff, u32::try_from(self.limit).unwrap_or(u32::MAX).min(1 << 16));
        let numbers = (0..limit).rev().map(|number| space | number);
        let mut unknown = numbers.filter(|number| *number != region.slot && !self.numbers.taken.contains(number));
        let Some(slot) = unknown.next() else { return Ok(false) };
        // No slot of the VMM has this memory, so the kernel changes none of them, whatever its number is.
        let bytes = self.page_size;
        let Ok(page) = MmapRegion::<()>::new(bytes as usize) else { return Ok(false) };
        let probe = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.guest_phys_addr,
            memory_size: bytes,
            userspace_addr: page.as_ptr() as u64,
        };
        // SAFETY: the page is mapped until the slot is deleted, and stays mapped if that fails.
        if unsafe { set_user_memory_region(self.vm(), &probe, String::new) }.is_err() {
            return Ok(false);
        }
        let gone = kvm_userspace_memory_region { memory_size: 0, ..probe };
        // SAFETY: this deletes the slot.
        let deleted = unsafe {
            set_user_memory_region(self.vm(), &gone, || format!("removal of slot {slot}, which was made to look"))
        };
        if deleted.is_err() {
            std::mem::forget(page);
        }
        deleted.map(|()| true)
    }

    fn set(&self, region: &kvm_userspace_memory_region, context: impl FnOnce() -> String) -> Result<()> {
        // SAFETY: the region's memory is mapped for as long as the slot exists (the contract of `Slots::add` and
        // `Slots::adopt`), and it overlaps no other slot's (KVM refuses that with EEXIST).
        unsafe { set_user_memory_region(self.vm(), region, context) }
    }
}
