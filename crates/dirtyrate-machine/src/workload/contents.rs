//! The second witness: the contents of the pages must agree with the counters.

use super::kind::Sharing;
use super::program::{Counters, GuestWords, Program};
use super::truth::Stopped;

/// After how many pages the check asks `go_on` whether to go on.
const PAGES_BETWEEN_LOOKS: u64 = 1 << 14;

/// A page whose contents do not agree with the counters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the page at {guest_address:#x} holds {found:#x}; after the writes counted so far it should hold {}",
    alternatives(expected)
)]
pub struct Mismatch {
    /// Guest address of the page.
    pub guest_address: u64,
    /// Its first 8 bytes.
    pub found: u64,
    /// The values that would have been right.
    pub expected: Vec<u64>,
}

fn alternatives(expected: &[u64]) -> String {
    let words: Vec<String> = expected.iter().map(|value| format!("{value:#x}")).collect();
    words.join(" or ")
}

impl Program {
    /// Checks that every page of the working set has the right value: 0 if it was never written, and otherwise the
    /// value of the last write to it. If vCPUs share pages, this is the last write of any vCPU. If a vCPU was not
    /// settled, the value of the one write that it may have made without counting it is right too.
    ///
    /// The guest must not write between `at` and the end of this: pause it, or let it use up its
    /// budget. Memory that was not 0 when the guest started (a firmware's tables at the end of
    /// RAM, say) shows as a mismatch until it has been written.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when `go_on` returns false. It is called every few milliseconds.
    ///
    /// # Panics
    ///
    /// If the counters are those of a program with fewer vCPUs.
    pub fn confirm_contents(
        &self,
        memory: &dyn GuestWords,
        at: &Counters,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Result<(), Mismatch>, Stopped> {
        let vcpus: Vec<u32> = (0..self.vcpus()).collect();
        let each = match self.sharing() {
            Sharing::Split => 1,
            Sharing::Shared => vcpus.len(),
        };
        for share in vcpus.chunks(each) {
            if let Err(mismatch) = self.confirm_share(memory, at, share, go_on)? {
                return Ok(Err(mismatch));
            }
        }
        Ok(Ok(()))
    }

    /// The same for a set of pages that these vCPUs have in common, and no other vCPU.
    fn confirm_share(
        &self,
        memory: &dyn GuestWords,
        at: &Counters,
        vcpus: &[u32],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Result<(), Mismatch>, Stopped> {
        let writers = vcpus.iter().map(|&vcpu| Writer::new(self, at, vcpu, go_on));
        let writers: Vec<Writer> = writers.collect::<Option<_>>().ok_or(Stopped)?;
        let common = self.sequence(vcpus[0]);
        for page in 0..common.pages() {
            if page.is_multiple_of(PAGES_BETWEEN_LOOKS) && !go_on() {
                return Err(Stopped);
            }
            let guest_address = common.address(page);
            let found = memory.load(guest_address);
            let mut expected: Vec<u64> = writers
                .iter()
                .filter_map(|writer| {
                    let index = writer.last[page as usize]?;
                    Some(self.value(writer.vcpu, index))
                })
                .collect();
            if expected.is_empty() {
                expected.push(0);
            }
            expected.extend(
                writers
                    .iter()
                    .filter_map(|writer| writer.under_way)
                    .filter_map(|(at, value)| (at == page).then_some(value)),
            );
            if !expected.contains(&found) {
                expected.sort_unstable();
                expected.dedup();
                return Ok(Err(Mismatch { guest_address, found, expected }));
            }
        }
        Ok(Ok(()))
    }
}

/// What one vCPU has written to its pages.
struct Writer {
    vcpu: u32,
    /// For each page the index of its last counted write.
    last: Vec<Option<u64>>,
    /// Page and value of the write that may have been made, but was not counted.
    under_way: Option<(u64, u64)>,
}

impl Writer {
    fn new(program: &Program, at: &Counters, vcpu: u32, go_on: &mut dyn FnMut() -> bool) -> Option<Self> {
        let sequence = program.sequence(vcpu);
        let next = at.writes[vcpu as usize];
        Some(Writer {
            vcpu,
            last: sequence.last_writes(next, go_on)?,
            under_way: (!at.is_settled(vcpu)).then(|| (sequence.page(next), program.value(vcpu, next))),
        })
    }
}

#[cfg(test)]
mod tests;
