//! Where the working set lies: this computes, from RAM ranges, the segments that each vCPU writes. It knows only the
//! end of the image.

use super::contract::{GIB, MAX_ADDRESS};
use super::error::WorkloadError;
use super::kind::{Placement, Sharing};
use super::ram::RamRange;

/// Consecutive pages of the host's page size, as in KVM's dirty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub guest_address: u64,
    pub pages: u64,
    pub page_size: u64,
}

impl Segment {
    pub fn end(&self) -> u64 {
        self.guest_address + self.pages * self.page_size
    }
}

/// Sorts the ranges, and checks that each consists of whole pages, overlaps no other range, and can be mapped.
pub(super) fn checked(ram: &[RamRange], page_size: u64) -> Result<Vec<RamRange>, WorkloadError> {
    let mut ranges = ram.to_vec();
    ranges.sort_by_key(|range| range.guest_address);
    let mut end = 0;
    for &RamRange { guest_address, bytes } in &ranges {
        if bytes == 0 || !(guest_address | bytes).is_multiple_of(page_size) {
            return Err(WorkloadError::Unaligned { guest_address, bytes, page_size });
        }
        if guest_address < end {
            return Err(WorkloadError::Overlap { guest_address, end });
        }
        end = guest_address
            .checked_add(bytes)
            .filter(|&end| end <= MAX_ADDRESS)
            .ok_or(WorkloadError::OutOfReach { guest_address })?;
    }
    Ok(ranges)
}

/// Whether all of `start..end` is inside one of the ranges.
pub(super) fn is_ram(ranges: &[RamRange], start: u64, end: u64) -> bool {
    ranges.iter().any(|range| range.guest_address <= start && end <= range.guest_address + range.bytes)
}

/// The free pages of the ranges from `floor` on, as one segment for each range that has any.
pub(super) fn free(ranges: &[RamRange], floor: u64, page_size: u64) -> Vec<Segment> {
    ranges
        .iter()
        .filter_map(|range| {
            let start = range.guest_address.max(floor);
            let end = range.guest_address + range.bytes;
            (start < end).then(|| Segment { guest_address: start, pages: (end - start) / page_size, page_size })
        })
        .collect()
}

/// Number of pages in all the segments.
pub(super) fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.pages).sum()
}

/// The working set, in ascending order, or `None` if there is no room for it.
pub(super) fn place(free: &[Segment], pages: u64, placement: Placement) -> Option<Vec<Segment>> {
    if pages > total(free) {
        return None;
    }
    Some(match placement {
        Placement::Packed => slice(free, 0, pages),
        Placement::Spread => spread(free, pages),
        Placement::Even => spread(&by_gib(free), pages),
    })
}

/// One page at the end of each segment, then the rest in proportion to what is left of each.
fn spread(free: &[Segment], pages: u64) -> Vec<Segment> {
    let each = (free.len() as u64).min(pages);
    let rest = u128::from(pages - each);
    let room = u128::from(total(free) - free.len() as u64);
    // Rounding the running sum and not each share makes the shares add up; no share exceeds its
    // segment, because `rest <= room` and the segments' sizes are whole.
    let share_up_to = |below: u128| {
        if rest == 0 { 0 } else { (rest * below / room) as u64 }
    };
    let mut below = 0;
    let mut placed = Vec::with_capacity(free.len());
    for segment in free.iter().take(each as usize) {
        let from = share_up_to(below);
        below += u128::from(segment.pages - 1);
        let pages = 1 + share_up_to(below) - from;
        placed.push(Segment { guest_address: segment.end() - pages * segment.page_size, pages, ..*segment });
    }
    merged(placed)
}

/// The same pages, cut at each GiB.
fn by_gib(segments: &[Segment]) -> Vec<Segment> {
    let parts = |segment: &Segment| {
        let &Segment { guest_address: start, page_size, .. } = segment;
        let end = segment.end();
        (start / GIB..end.div_ceil(GIB)).map(move |gib| {
            let from = start.max(gib * GIB);
            let to = end.min((gib + 1) * GIB);
            Segment { guest_address: from, pages: (to - from) / page_size, page_size }
        })
    };
    segments.iter().flat_map(parts).collect()
}

/// The pages `from..to` of the segments, counted from the first page of the first one.
fn slice(segments: &[Segment], from: u64, to: u64) -> Vec<Segment> {
    let mut first = 0;
    let mut found = Vec::new();
    for segment in segments {
        let (start, end) = (from.max(first), to.min(first + segment.pages));
        if start < end {
            found.push(Segment {
                guest_address: segment.guest_address + (start - first) * segment.page_size,
                pages: end - start,
                ..*segment
            });
        }
        first += segment.pages;
    }
    merged(found)
}

/// The same pages with neighbours joined: RAM ranges may touch each other.
fn merged(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        match joined.last_mut() {
            Some(last) if last.end() == segment.guest_address => last.pages += segment.pages,
            _ => joined.push(segment),
        }
    }
    joined
}

/// What each vCPU writes.
pub(super) fn shares(working_set: &[Segment], vcpus: u32, sharing: Sharing) -> Vec<Vec<Segment>> {
    let pages = u128::from(total(working_set));
    let boundary = |vcpu: u32| (pages * u128::from(vcpu) / u128::from(vcpus)) as u64;
    (0..vcpus)
        .map(|vcpu| match sharing {
            Sharing::Split => slice(working_set, boundary(vcpu), boundary(vcpu + 1)),
            Sharing::Shared => working_set.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
