//! The pace of a guest that keeps its rate by its own clock: the TSC on x86-64, the virtual counter on arm64.

/// The rate of a guest that is paced by its own clock.
///
/// Each vCPU compares the writes that it has made with the writes that are due, whose number is the rate multiplied by
/// the ticks since its start. It waits until a write is due. If a vCPU did not run for a while, it makes up for that as
/// fast as it can, so that the rate holds over time. It makes up for at most a second
/// ([`LONGEST_MADE_UP`](Self::LONGEST_MADE_UP)), so that a VM that was paused for an hour does not write an hour's
/// pages at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Bytes written in a second by all vCPUs together; each has the same part. A write counts as the page that it goes
    /// to.
    pub bytes_per_second: u64,
    /// x86-64: ticks of the TSC in a second. With `None` the guest finds the frequency while it boots, by KVM's clock
    /// or else by the PC's timer. On arm64 a register says the frequency of the counter, so this is not used there.
    pub ticks_per_second: Option<u64>,
    /// Whether a vCPU that waits writes to [`IDLE_PORT`](super::IDLE_PORT) again and again, so that the VMM can let it
    /// rest. Otherwise the vCPU spins.
    pub rests: bool,
}

/// Units of a rate's fraction: 2^-32 writes in a second.
const FRACTION: u32 = 32;

impl Clock {
    /// The longest time, in seconds, for which a vCPU makes up.
    pub const LONGEST_MADE_UP: u64 = 1;

    /// The pace of a guest on an unknown machine: the guest finds the frequency of its clock itself, and spins while it
    /// waits.
    pub fn new(bytes_per_second: u64) -> Self {
        Clock { bytes_per_second, ticks_per_second: None, rests: false }
    }

    /// How many writes one of `vcpus` makes in a second, in units of 2^-32. This is at least 1, and at most the largest
    /// number of 64 bits.
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
