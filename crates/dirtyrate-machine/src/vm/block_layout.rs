//! The blocks of a VM and their memory as they are now, for readers that must not wait for a sync.
//!
//! The time to add or remove a block grows with the logarithm of the number of blocks. The guest memory of all blocks
//! is one immutable list, which readers can keep while the blocks change. The list is made when a reader asks for it,
//! and is reused until a block is added or removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use vm_memory::{GuestMemoryMmap, GuestRegionMmap};

use super::block_spec::BlockSpec;
use super::block_watch::{BlockChange, BlockWatch};
use dirtyrate::BlockInfo;

/// Guest memory as it is at one instant.
pub(super) type Memory = Arc<GuestMemoryMmap>;

/// A block with its memory.
struct LaidOut {
    info: BlockInfo,
    region: Arc<GuestRegionMmap>,
}

/// The blocks of a VM and their memory.
#[derive(Default)]
pub(super) struct Layout {
    /// By guest address.
    blocks: BTreeMap<u64, LaidOut>,
    /// Guest addresses by name.
    names: HashMap<String, u64>,
    /// The memory of all blocks, once a reader has asked for it.
    memory: OnceLock<Memory>,
    watches: Vec<Weak<BlockWatch>>,
}

fn memory_of(regions: Vec<Arc<GuestRegionMmap>>) -> Memory {
    if regions.is_empty() {
        return Memory::default();
    }
    Arc::new(GuestMemoryMmap::from_arc_regions(regions).expect("the blocks are sorted, and none overlaps another"))
}

impl Layout {
    /// The memory of all blocks.
    pub fn memory(&self) -> Memory {
        let all = || memory_of(self.blocks.values().map(|block| Arc::clone(&block.region)).collect());
        Arc::clone(self.memory.get_or_init(all))
    }

    /// The blocks, by guest address.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.blocks.values().map(|block| &block.info)
    }

    /// The blocks with which a new block can be in conflict: its neighbours, and the block of the same name.
    pub fn blocks_beside(&self, spec: &BlockSpec) -> impl Iterator<Item = &BlockInfo> {
        let below = self.blocks.range(..=spec.guest_address).next_back();
        let above = self.blocks.range(spec.guest_address..).next();
        let named = self.names.get(&spec.name).and_then(|address| self.blocks.get_key_value(address));
        [below, above, named].into_iter().flatten().map(|(_, block)| &block.info)
    }

    /// Makes a watch that records which blocks are added and removed from now on.
    pub fn watch(&mut self) -> Arc<BlockWatch> {
        let watch = Arc::new(BlockWatch::default());
        self.watches.retain(|watch| watch.strong_count() > 0);
        self.watches.push(Arc::downgrade(&watch));
        watch
    }

    /// Adds a block, which must not be in conflict with another one.
    pub fn add(&mut self, info: BlockInfo, region: Arc<GuestRegionMmap>) {
        self.tell(|| BlockChange::Added {
            block: info.clone(),
            memory: memory_of(vec![Arc::clone(&region)]),
            at: Instant::now(),
        });
        self.names.insert(info.name.clone(), info.guest_address);
        self.blocks.insert(info.guest_address, LaidOut { info, region });
        self.memory.take();
    }

    /// Removes the block at a guest address.
    pub fn remove(&mut self, guest_address: u64) {
        let Some(LaidOut { info, .. }) = self.blocks.remove(&guest_address) else { return };
        self.tell(|| BlockChange::Removed { id: info.id, at: Instant::now() });
        self.names.remove(&info.name);
        self.memory.take();
    }

    fn tell(&self, change: impl FnOnce() -> BlockChange) {
        let watches: Vec<_> = self.watches.iter().filter_map(Weak::upgrade).collect();
        if watches.is_empty() {
            return;
        }
        let change = change();
        watches.iter().for_each(|watch| watch.tell(change.clone()));
    }
}
