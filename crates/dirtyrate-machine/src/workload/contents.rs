//! The second witness: what the pages hold must agree with the counters.

use super::truth::Stopped;
use super::{Counters, GuestWords, Program, Sharing};

/// How often a look at many pages looks at whether to go on.
const PAGES_BETWEEN_LOOKS: u64 = 1 << 14;

/// A page that does not hold what the counters say was written to it.
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
    /// What they could have been.
    pub expected: Vec<u64>,
}

fn alternatives(expected: &[u64]) -> String {
    let words: Vec<String> = expected.iter().map(|value| format!("{value:#x}")).collect();
    words.join(" or ")
}

impl Program {
    /// Checks that every page of the working set holds what the writes so far say: the value of the
    /// last write to it (of the last one of any vCPU, where they share pages; the value of the
    /// one write that each vCPU may have made without having counted it, unless it was
    /// settled), or 0 if there was none.
    ///
    /// The guest must not write between `at` and the end of this: pause it, or let it use up its
    /// budget. Memory that was not 0 when the guest started (a firmware's tables at the end of
    /// RAM, say) shows as a mismatch until it has been written.
    ///
    /// # Errors
    ///
    /// [`Stopped`] once `go_on` says no, which is asked every few milliseconds.
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

/// What one vCPU has left in its pages.
struct Writer {
    vcpu: u32,
    /// For each page the index of its last counted write.
    last: Vec<Option<u64>>,
    /// Page and value of the write that may have been made without being counted.
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
