//! RAM blocks as KVM memory slots. Slot numbers stay inside: outside a block is its name and its [`BlockId`].

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, kvm_userspace_memory_region};
use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap};

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

/// What the ring entries of a slot stand for: pages of `block`, if its log is on and the page is below `pages`.
#[derive(Debug, Clone, Copy)]
struct LoggedSlot {
    block: BlockId,
    /// 0 while the slot's log is off.
    pages: u64,
}

/// Keeps the place of the one log that a VM's slots have, until it is dropped.
#[derive(Debug)]
pub(super) struct OneLog(#[allow(dead_code, reason = "its reference count is what is asked for")] Arc<()>);

/// The kind of dirty log that was enabled for a VM.
#[derive(Debug)]
struct Enabled {
    log: &'static str,
    /// Whether it is in use.
    used: Weak<()>,
}

/// The slots of a VM. Clones are handles to the same slots.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Mutex<SlotTable>>);

/// What is known of the slots.
#[derive(Debug)]
pub(super) struct SlotTable {
    vm: OwnedFd,
    page_size: u64,
    limit: usize,
    /// How many blocks have had a slot: each gets a number of its own.
    blocks: u64,
    by_block: BTreeMap<BlockId, Slot>,
    numbers: Numbers,
    /// By slot number, for each entry of a ring.
    entries: Vec<LoggedSlot>,
    /// How many blocks are logged.
    logged: usize,
    /// The log that was enabled. A VM keeps its kind for good, because the kernel cannot undo it.
    log: Option<Enabled>,
}

/// Which slot numbers are taken.
#[derive(Debug, Default)]
struct Numbers {
    taken: BTreeSet<u32>,
    /// Numbers below `next` that were given back.
    free: BTreeSet<u32>,
    /// No number from here on was given out; some may have been taken all the same.
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
    /// The slots of a VM, none of which is known yet. `limit` is KVM_CAP_NR_MEMSLOTS. The descriptor is duplicated, so that the VMM
    /// may keep or close its own; the VM lives until both are closed.
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

    /// How many more slots there may be.
    pub fn available(&self) -> usize {
        self.lock().available()
    }

    /// Gives a new block a slot that maps `memory`. What is returned is the block, as
    /// [`DirtyMemory::add_block`](crate::dirty_memory::DirtyMemory::add_block) takes it in.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if the VM has no slot left, [`Error::Ioctl`] if the kernel refuses.
    ///
    /// # Safety
    ///
    /// `memory` must stay mapped until the block is removed or the VM is gone, which it is when the last descriptor of it and
    /// of its vCPUs is closed. Until then nobody else sets a slot of the same number: the kernel would write a log of another size than
    /// the buffer that it gets.
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

    /// Takes in a slot that the VMM has set itself, as it set it: its log may be turned on and off here, with the rest of its
    /// flags as they are, and by nobody else. The slot is set once more as `region` says, which changes nothing of it.
    ///
    /// What is returned is the block that the slot is from now on, as
    /// [`DirtyMemory::add_block`](crate::dirty_memory::DirtyMemory::add_block) takes it in.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a slot whose number is known here already, whose log is on, or that the kernel has with another size,
    /// with other memory, or read-only where `region` is not; [`Error::Ioctl`] if the kernel refuses it otherwise.
    ///
    /// # Safety
    ///
    /// `region` is the slot as it was set last. Its memory must stay mapped until the block is removed here or the VM is gone. Until then
    /// nobody else sets that slot, changes its size or deletes it: the kernel would write a log of another size than the buffer that
    /// it gets.
    pub unsafe fn adopt(&self, name: &str, region: kvm_userspace_memory_region) -> Result<BlockInfo> {
        let mut table = self.lock();
        let refuse = |problem: &str| Err(Error::Argument(format!("slot {} of block '{name}' {problem}", region.slot)));
        if table.numbers.taken.contains(&region.slot) {
            return refuse("is known already");
        }
        if region.flags & KVM_MEM_LOG_DIRTY_PAGES != 0 {
            return refuse(
                "has its dirty log on: turn that off first, whoever turned it on would miss what is fetched here",
            );
        }
        if region.memory_size == 0 {
            return refuse("has a size of 0 bytes: the kernel would delete it");
        }
        // What differs in these cannot be changed of a slot that exists, and is EINVAL (`kvm_set_memory_region`).
        match table.set(&region, || format!("block '{name}' taken in")) {
            Err(Error::Ioctl { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                return refuse(
                    "is not in the kernel as it is given here: give the number, size, memory and flags with which it was set",
                );
            }
            set => set?,
        }
        table.make_room(region.slot)?;
        Ok(table.insert(name, region))
    }

    /// Takes a block's slot away: the guest cannot reach its memory any more, and its log is gone.
    ///
    /// # Errors
    ///
    /// [`Error::NoSlot`]; [`Error::Ioctl`] if the kernel refuses: the slot is as before then.
    pub fn remove(&self, block: BlockId) -> Result<()> {
        self.lock().remove(block)
    }

    /// Turns a block's dirty log on or off. A log that is made of these slots does so by itself.
    ///
    /// # Errors
    ///
    /// [`Error::NoSlot`]; [`Error::Ioctl`] if the kernel refuses. The log counts as it was before then; if it was
    /// to go on, the kernel was asked to have it off.
    pub fn set_logging(&self, block: BlockId, on: bool) -> Result<()> {
        self.lock().set_logging(block, on)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotTable> {
        lock(&self.0)
    }

    /// The table itself, for those who share it.
    pub(super) fn table(&self) -> Arc<Mutex<SlotTable>> {
        Arc::clone(&self.0)
    }
}

impl SlotTable {
    /// The VM that has these slots.
    pub fn vm(&self) -> BorrowedFd<'_> {
        self.vm.as_fd()
    }

    /// Calls `enable`, which turns on what a kind of log needs of the kernel. That cannot be undone, so a VM keeps its kind: manual protect
    /// beside rings would lose writes.
    /// The log keeps what this returns for as long as it is used.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLog`] if these slots have another kind of log, [`Error::LogInUse`] if one of the same kind is in use; those of `enable`.
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

    /// How many pages a block has.
    pub fn pages(&self, block: BlockId) -> Option<u64> {
        self.lookup(block).ok().map(|(_, pages, _)| pages)
    }

    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.by_block.len())
    }

    /// Makes room for what the entries of a ring need to know of a slot.
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
            // A log that is on already would begin no first round, so it is turned off before.
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

    /// Turns every dirty log that is on off and on again, at which the kernel protects all of its pages.
    ///
    /// # Errors
    ///
    /// [`Error::Ioctl`] if the kernel refuses. The log of a block may be off in the kernel then, until this or
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

    /// The block of a slot that is logged, and how many pages it has.
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

    fn set(&self, region: &kvm_userspace_memory_region, context: impl FnOnce() -> String) -> Result<()> {
        // SAFETY: the region's memory is mapped for as long as the slot exists (the contract of `Slots::add` and `Slots::adopt`), and it
        // overlaps no other slot's (KVM refuses that with EEXIST).
        unsafe { set_user_memory_region(self.vm(), region, context) }
    }
}
