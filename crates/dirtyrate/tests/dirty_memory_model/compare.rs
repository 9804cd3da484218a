//! Compares everything that can be seen of dirty memory with the model.

use dirtyrate::BlockInfo;
use dirtyrate::dirty_memory::{Client, DirtyBits, Reap, WitnessedWindow};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::model::Outcome;
use super::pages::Pages;
use super::rig::{PAGE_SIZE, Rig, refusal};
use super::windows::Tick;

impl Rig {
    /// Compares everything that can be seen. This is called after every operation.
    pub fn compare(&self) -> Result<(), TestCaseError> {
        let memory = self.memory();
        let (bits, model) = (&*memory.bits(), &self.model);
        prop_assert!(bits.blocks().eq(model.blocks.iter().map(|block| &block.info)), "the blocks, by guest address");
        let logging = model.blocks.iter().filter(|block| block.logging).map(|block| &block.info);
        prop_assert!(bits.logging_blocks().eq(logging), "the blocks whose log is on");
        for block in &model.blocks {
            prop_assert_eq!(self.log.is_logging(block.info.id), block.logging, "the log of {}", &block.info.name);
        }
        for client in self.clients() {
            prop_assert_eq!(bits.is_tracking(client), model.is_tracking(client), "{} tracks", client);
            for block in &model.blocks {
                compare_bits(bits, client, &block.info, model.exists(client).map(|()| block.bits(client)))?;
            }
        }
        for (number, block) in model.removed.iter().enumerate() {
            let others = model.blocks.iter().chain(&model.removed[number + 1..]);
            if others.into_iter().all(|other| other.info.name != block.info.name) {
                prop_assert_eq!(bits.block(&block.info.name).ok(), Some(&block.info), "a block that is gone");
                for client in self.clients() {
                    compare_bits(bits, client, &block.info, model.exists(client).map(|()| block.bits(client)))?;
                }
            }
        }
        // A reap shows what is left of blocks that are gone; of the others it only counts the bits that were compared.
        let turn = self.steps % 6;
        for (number, client) in self.clients().into_iter().enumerate() {
            if (number == turn || !self.model.removed.is_empty()) && self.model.exists(client).is_ok() {
                let reap = bits.reap(client);
                let reap = reap.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(reap_of(&reap), self.expected_reap(client), "reap of {}", client);
                prop_assert_eq!(reap.pages, reap.blocks.iter().map(|block| block.pages).sum::<u64>());
                self.compare_windows(client, &reap)?;
            }
        }
        Ok(())
    }

    /// The windows and the rates of a reap, and what the witness saw around the window.
    fn compare_windows(&self, client: Client, reap: &Reap) -> Result<(), TestCaseError> {
        let history = &self.model.history;
        let (mut first, mut last, mut gap) = (Tick::MAX, 0, (Tick::MAX, Tick::MAX));
        let (mut shortest, mut longest) = (Tick::MAX, 0);
        let mut rate = 0.0;
        for found in &reap.blocks {
            let blocks = if found.removed { &self.model.removed } else { &self.model.blocks };
            let block = blocks.iter().find(|block| block.info == found.block).expect("compared before");
            let bits = block.bits(client);
            let (mut sum, mut of_block) = (0, 0.0);
            for chunk in &block.chunks {
                let spans = chunk.spans(client);
                let (Some(opened), Some(closed)) = (spans.first(), spans.last()) else { continue };
                let (length, stood) = history.length(spans);
                let whole = (opened.0, closed.1);
                gap = gap.min((whole.1 - whole.0 - length, history.stood(whole) - stood));
                (first, last) = (first.min(opened.0), last.max(closed.1));
                (shortest, longest) = (shortest.min(length), longest.max(length));
                sum += length * chunk.pages.len();
                let ran = if length > stood { length - stood } else { length };
                let dirty = bits.common(&chunk.pages).len();
                of_block += if ran > 0 { (dirty * PAGE_SIZE) as f64 / (ran as f64 * 1e-9) } else { 0.0 };
            }
            let mean = sum as f64 / block.info.pages as f64;
            let window = found.window.as_nanos() as f64;
            prop_assert!((window - mean).abs() <= 1.0, "{client}: {found:?}, expected a window of {mean} ns");
            let same = (found.bytes_per_second - of_block).abs() <= 1e-9 * of_block;
            prop_assert!(same, "{client}: {found:?}, expected {of_block} bytes/s");
            rate += of_block;
        }
        prop_assert!((reap.bytes_per_second - rate).abs() <= 1e-9 * rate, "{client}: the sum of the rates");
        let (mut window, mut stood, mut skew) = (0, 0, 0);
        if longest > 0 {
            (window, stood) = (last - first - gap.0, history.stood((first, last)) - gap.1);
            skew = longest - shortest;
        }
        let found = [reap.window, reap.stood, reap.skew].map(|found| found.as_nanos() as Tick);
        prop_assert_eq!(found, [window, stood, skew], "{}: window, how long the guest stood in it, skew", client);
        let witnessed = reap.witness.as_ref().map(|window| {
            let WitnessedWindow { opened, cleared, closed, reaped } = window;
            [&opened.before, &opened.after, &closed.before, &closed.after, cleared, reaped].map(|of| of[0])
        });
        prop_assert_eq!(witnessed, self.model.witnessed(client), "{}: the witness", client);
        Ok(())
    }

    /// Block, pages, and whether it is gone: by guest address, and what is gone by age.
    pub fn expected_reap(&self, client: Client) -> Vec<(BlockInfo, u64, bool)> {
        let live = self.model.blocks.iter().map(|block| (block.info.clone(), block.bits(client).len(), false));
        let gone = self.model.removed.iter().map(|block| (block.info.clone(), block.bits(client).len(), true));
        let mut gone: Vec<_> = gone.filter(|(_, pages, _)| *pages > 0).collect();
        gone.sort_by_key(|(info, ..)| info.id);
        live.chain(gone).collect()
    }

    /// The other views of a client's bits: runs, heat, single pages.
    pub fn compare_views(&self, client: Client) -> Result<(), TestCaseError> {
        for block in self.model.blocks.iter().filter(|_| self.model.exists(client).is_ok()) {
            let (name, bits) = (&block.info.name, block.bits(client));
            for region in [1, 16, 64, 128] {
                let mut heat = vec![u32::MAX; block.info.pages.div_ceil(region) as usize + self.steps % 3];
                prop_assert!(self.memory().bits().heat(client, name, region, &mut heat).is_ok());
                let mut expected = vec![0; heat.len()];
                bits.iter().for_each(|page| expected[(page / region) as usize] += 1);
                prop_assert_eq!(heat, expected, "heat of {} in {}, by {} pages", client, name, region);
            }
            if let Ok(Some(bitmap)) = self.memory().bits().bitmap(client, name) {
                let mut expected: Vec<(u64, u64)> = Vec::new();
                for page in bits.iter() {
                    match expected.last_mut() {
                        Some((first, pages)) if *first + *pages == page => *pages += 1,
                        _ => expected.push((page, 1)),
                    }
                }
                let ranges: Vec<_> = bitmap.ranges().map(|range| (range.first, range.pages)).collect();
                prop_assert_eq!(ranges, expected, "ranges of {} in {}", client, name);
                prop_assert!((0..block.info.pages).all(|page| bitmap.contains(page) == bits.contains(page)));
                prop_assert!(!bitmap.contains(block.info.pages));
            }
        }
        Ok(())
    }
}

/// What is compared of a reap.
pub fn reap_of(reap: &Reap) -> Vec<(BlockInfo, u64, bool)> {
    let mut blocks: Vec<_> =
        reap.blocks.iter().map(|block| (block.block.clone(), block.pages, block.removed)).collect();
    // Blocks that are gone come last, in any order.
    let live = blocks.iter().take_while(|(_, _, removed)| !removed).count();
    blocks[live..].sort_by_key(|(info, ..)| info.id);
    blocks
}

fn compare_bits(
    bits: &DirtyBits,
    client: Client,
    block: &BlockInfo,
    expected: Outcome<Pages>,
) -> Result<(), TestCaseError> {
    match (bits.bitmap(client, &block.name), expected) {
        (Err(error), expected) => prop_assert_eq!(Err(refusal(error)), expected),
        (Ok(found), Err(_)) => prop_assert!(false, "{} has {:?}, and is closed", client, found),
        (Ok(Some(found)), Ok(expected)) => {
            let same = found.words() == expected.words() && found.pages() == block.pages;
            prop_assert!(same, "bits of {client} in {}:\nfound {found:x?}\nexpected {expected:x?}", block.name);
        }
        (Ok(None), Ok(expected)) => {
            prop_assert!(expected.is_empty(), "{client} has none in {}, expected {expected:x?}", block.name);
        }
    }
    Ok(())
}
