//! The pace of a guest that keeps its rate by its own clock: the TSC on x86-64, the virtual counter on arm64.

/// The rate of a guest that is paced by its own clock.
///
/// Each vCPU compares the writes that it has made with those that are due, which are the rate times the ticks since its start,
/// and waits until one is due. A vCPU that did not run for a while makes up for it as fast as it can, so that the rate holds
/// over time. It makes up for a second at most ([`LONGEST_MADE_UP`](Self::LONGEST_MADE_UP)): a VM that was paused for an hour
/// does not write an hour's pages at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Bytes written in a second by all vCPUs together; each has the same part. A write counts as the page that it goes to.
    pub bytes_per_second: u64,
    /// x86-64: ticks of the TSC in a second. A guest that was not told finds out while it boots: from KVM's clock, elsewhere by
    /// the PC's timer. arm64's counter has a register that says it, so this is not used there.
    pub ticks_per_second: Option<u64>,
    /// Whether a vCPU that waits says so at [`IDLE_PORT`](super::IDLE_PORT), again and again, for a VMM that rests there. Without
    /// it a vCPU spins.
    pub rests: bool,
}

/// Units of a rate's fraction: 2^-32 writes in a second.
const FRACTION: u32 = 32;

impl Clock {
    /// The longest time, in seconds, whose writes a vCPU makes up for.
    pub const LONGEST_MADE_UP: u64 = 1;

    /// The pace of a guest on a machine that nothing is known of: it finds its clock's frequency, and spins.
    pub fn new(bytes_per_second: u64) -> Self {
        Clock { bytes_per_second, ticks_per_second: None, rests: false }
    }

    /// Writes that one of `vcpus` makes in a second, in units of 2^-32. At least 1, at most what 64 bits hold.
    pub(super) fn rate_of_a_vcpu(&self, page_size: u64, vcpus: u32) -> u64 {
        let rate = (u128::from(self.bytes_per_second) << FRACTION) / u128::from(page_size) / u128::from(vcpus);
        u64::try_from(rate).unwrap_or(u64::MAX).max(1)
    }
}

/// How many writes a vCPU with this rate may be behind.
pub(super) fn most_behind(rate: u64) -> u64 {
    (rate >> FRACTION).saturating_mul(Clock::LONGEST_MADE_UP).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vcpu_has_its_part_of_the_rate() {
        let clock = Clock::new(100 << 20);
        assert_eq!(clock.rate_of_a_vcpu(4096, 1), 25_600 << 32);
        assert_eq!(clock.rate_of_a_vcpu(4096, 3), (25_600 << 32) / 3);
        assert_eq!(clock.rate_of_a_vcpu(65_536, 2), 800 << 32);
    }

    #[test]
    fn no_rate_is_too_small_or_too_large_to_be_kept() {
        assert_eq!(Clock::new(1).rate_of_a_vcpu(65_536, 240), (1 << 32) / 65_536 / 240);
        assert_eq!(Clock::new(0).rate_of_a_vcpu(4096, 1), 1, "a rate of 0 would mean that there is no clock");
        assert_eq!(Clock::new(u64::MAX).rate_of_a_vcpu(4096, 1), u64::MAX);
    }

    #[test]
    fn a_vcpu_may_be_a_second_behind_and_always_a_write() {
        assert_eq!(most_behind(25_600 << 32), 25_600);
        assert_eq!(most_behind(1), 1);
    }
}
