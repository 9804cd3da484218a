//! What rings tell beyond the pages: which vCPU wrote them, how often they were named, and what was lost. Each measuring
//! client has its own, over its own window.

use std::collections::BTreeMap;

use super::{BlockId, Client, RingLoss, VcpuPages};
use crate::bitmap::SparsePages;

/// One vCPU's share of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VcpuReap {
    /// Distinct pages that this vCPU wrote.
    pub pages: u64,
    /// Entries of its ring that named them.
    pub entries: u64,
    /// Entries that named a page again: the kernel writes one for every write that it emulates.
    pub duplicates: u64,
}

/// What the rings tell of a window. The entries add up: `entries` of all vCPUs are their pages and duplicates, and beside
/// them are those that were dropped or lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RingReap {
    /// By vCPU id.
    pub vcpus: Vec<VcpuReap>,
    /// Pages that more than one vCPU wrote.
    pub shared_pages: u64,
    /// Entries of memory that is not logged, or not there any more.
    pub dropped: u64,
    /// Entries that are known to be lost: the pages are a lower bound then.
    pub lost: u64,
    /// More may be lost, as a ring was full to the last entry: a lower bound as well.
    pub maybe_lost: bool,
}

#[derive(Debug, Default)]
struct Tally {
    vcpus: Vec<BTreeMap<BlockId, VcpuPages>>,
    loss: RingLoss,
}

/// Every measuring client's tally; empty where the log does not tell.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    by_client: BTreeMap<Client, Tally>,
    /// How many vCPUs have rings.
    vcpus: usize,
}

impl Tallies {
    /// Adds what each vCPU wrote of a block, for each of `clients`.
    pub fn add(&mut self, clients: impl Iterator<Item = Client>, block: BlockId, vcpus: &[VcpuPages]) {
        self.vcpus = self.vcpus.max(vcpus.len());
        if vcpus.is_empty() {
            return;
        }
        for client in clients {
            let tally = self.by_client.entry(client).or_default();
            tally.vcpus.resize_with(self.vcpus, BTreeMap::new);
            for (ours, theirs) in tally.vcpus.iter_mut().zip(vcpus) {
                if theirs.entries > 0 {
                    let ours = ours.entry(block).or_default();
                    ours.pages.merge(&theirs.pages);
                    ours.entries += theirs.entries;
                }
            }
        }
    }

    /// Adds what the rings lost, for each of `clients`.
    pub fn lose(&mut self, clients: impl Iterator<Item = Client>, vcpus: &[RingLoss]) {
        self.vcpus = self.vcpus.max(vcpus.len());
        for client in clients {
            for loss in vcpus {
                self.by_client.entry(client).or_default().loss.add(loss);
            }
        }
    }

    /// Forgets a client's window.
    pub fn clear(&mut self, client: Client) {
        self.by_client.remove(&client);
    }

    /// Forgets what a client knows of one block.
    pub fn clear_block(&mut self, client: Client, block: BlockId) {
        if let Some(tally) = self.by_client.get_mut(&client) {
            tally.vcpus.iter_mut().for_each(|vcpu| drop(vcpu.remove(&block)));
        }
    }

    /// What the rings tell of the client's window; `None` where there are none, and for clients that begin full: what may be
    /// missing they were given.
    pub fn reap(&self, client: Client) -> Option<RingReap> {
        if self.vcpus == 0 || client.begins_full() {
            return None;
        }
        let mut reap = RingReap { vcpus: vec![VcpuReap::default(); self.vcpus], ..RingReap::default() };
        let Some(tally) = self.by_client.get(&client) else { return Some(reap) };
        let mut by_block: BTreeMap<BlockId, Vec<&SparsePages>> = BTreeMap::new();
        for (reap, blocks) in reap.vcpus.iter_mut().zip(&tally.vcpus) {
            for (block, written) in blocks {
                reap.pages += written.pages.len();
                reap.entries += written.entries;
                by_block.entry(*block).or_default().push(&written.pages);
            }
            reap.duplicates = reap.entries - reap.pages;
        }
        reap.shared_pages = by_block.into_values().map(SparsePages::shared).sum();
        (reap.dropped, reap.lost, reap.maybe_lost) = (tally.loss.dropped, tally.loss.lost, tally.loss.maybe_lost);
        Some(reap)
    }

    /// The pages of a block that one vCPU wrote in the client's window.
    pub fn pages(&self, client: Client, vcpu: usize, block: BlockId) -> Option<&SparsePages> {
        self.by_client.get(&client)?.vcpus.get(vcpu)?.get(&block).map(|written| &written.pages)
    }
}
