//! What a guest does, as names: the words of the API, the command line and the reports.

use std::fmt;
use std::str::FromStr;

use super::clock::Clock;
use super::error::WorkloadError;
use dirtyrate::{Error, Result, names};

/// Which pages a guest writes, and in what order.
///
/// "Its pages" are the vCPU's own share with [`Sharing::Split`], the whole working set with
/// [`Sharing::Shared`], always in guest-physical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Kind {
    /// The pages one after the other, and then again from the first one.
    Stride = 0,
    /// Uniformly random pages.
    Random = 1,
    /// 90 % of the writes go to the first 10 % of its pages (rounded up), uniformly; the rest to
    /// the others.
    HotCold = 2,
    /// Like `Stride`, but every write stores the same value: after the first pass the memory never
    /// changes, so hashing pages sees nothing where a dirty log sees every write.
    Silent = 3,
    /// No writes: the vCPUs halt.
    Idle = 4,
}

impl Kind {
    /// Every kind, in the order in which messages list them.
    pub const ALL: [Kind; 5] = [Kind::Stride, Kind::Random, Kind::HotCold, Kind::Silent, Kind::Idle];

    /// The name that [`FromStr`] takes and [`fmt::Display`] gives.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Stride => "stride",
            Kind::Random => "random",
            Kind::HotCold => "hot-cold",
            Kind::Silent => "silent",
            Kind::Idle => "idle",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("workload", name, &Kind::ALL, Kind::name)
    }
}

/// How the vCPUs divide the working set of `n` pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Of `N` vCPUs, vCPU `k` has the pages `k * n / N` up to `(k + 1) * n / N`.
    #[default]
    Split,
    /// Every vCPU writes all of them.
    Shared,
}

impl Sharing {
    /// All values, the default first.
    pub const ALL: [Sharing; 2] = [Sharing::Split, Sharing::Shared];

    /// The name that [`FromStr`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Sharing::Split => "split",
            Sharing::Shared => "shared",
        }
    }
}

impl FromStr for Sharing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("sharing", name, &Sharing::ALL, Sharing::name)
    }
}

/// Where in guest memory the working set lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// From the first free address up, filling the RAM ranges in order.
    #[default]
    Packed,
    /// Over all RAM ranges: one page each, the rest in proportion to their free memory, at the very
    /// end of each range, so that the last and possibly partial word of each block's bitmap is
    /// in use.
    Spread,
    /// Like `Spread`, over all GiB of guest addresses that have free memory: at the end of each. QEMU protects pages
    /// again by such chunks, so this set has pages in all of them.
    Even,
}

impl Placement {
    /// All values, the default first.
    pub const ALL: [Placement; 3] = [Placement::Packed, Placement::Spread, Placement::Even];

    /// The name that [`FromStr`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Placement::Packed => "packed",
            Placement::Spread => "spread",
            Placement::Even => "even",
        }
    }
}

impl FromStr for Placement {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("placement", name, &Placement::ALL, Placement::name)
    }
}

/// What decides how fast the guest writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pacing {
    /// The guest writes as fast as it can.
    #[default]
    Free,
    /// The host decides: each vCPU stops at its budget, which is the total number of writes granted to it so far, and
    /// begins at 0.
    Granted,
    /// The guest keeps a rate by its own clock.
    Clock(Clock),
}

/// The name of a [`Pacing`], for a caller that gives the rate separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacingName {
    /// [`Pacing::Free`].
    Free,
    /// [`Pacing::Granted`].
    Granted,
    /// [`Pacing::Clock`].
    Clock,
}

impl PacingName {
    /// All values.
    pub const ALL: [PacingName; 3] = [PacingName::Free, PacingName::Granted, PacingName::Clock];

    /// The name that [`FromStr`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            PacingName::Free => "free",
            PacingName::Granted => "granted",
            PacingName::Clock => "clock",
        }
    }
}

impl FromStr for PacingName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("pacing", name, &PacingName::ALL, PacingName::name)
    }
}

/// What decides how fast the guest writes, and the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// What decides how fast the guest writes.
    pub pacing: Pacing,
    /// The rate at which the host grants writes to a guest with [`Pacing::Granted`]; `None` if the caller grants them.
    pub granted_bytes_per_second: Option<f64>,
}

impl Pace {
    /// Makes a pace from a name and a rate in bytes per second, each of which may be missing. A rate without a name is
    /// granted by the host.
    ///
    /// # Errors
    ///
    /// [`WorkloadError::Rate`] for a rate that is not above 0; [`WorkloadError::ClockWithoutRate`];
    /// [`WorkloadError::FreeWithRate`].
    pub fn new(name: Option<PacingName>, bytes_per_second: Option<f64>) -> std::result::Result<Self, WorkloadError> {
        if let Some(bytes_per_second) = bytes_per_second.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(WorkloadError::Rate { bytes_per_second });
        }
        let (pacing, granted_bytes_per_second) = match (name, bytes_per_second) {
            (None | Some(PacingName::Free), None) => (Pacing::Free, None),
            (None | Some(PacingName::Granted), rate) => (Pacing::Granted, rate),
            (Some(PacingName::Clock), Some(rate)) => (Pacing::Clock(Clock::new(rate.round() as u64)), None),
            (Some(PacingName::Clock), None) => return Err(WorkloadError::ClockWithoutRate),
            (Some(PacingName::Free), Some(_)) => return Err(WorkloadError::FreeWithRate),
        };
        Ok(Pace { pacing, granted_bytes_per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>().expect("a kind"), kind);
        }
        for sharing in Sharing::ALL {
            assert_eq!(sharing.name().parse::<Sharing>().expect("a sharing"), sharing);
        }
        for placement in Placement::ALL {
            assert_eq!(placement.name().parse::<Placement>().expect("a placement"), placement);
        }
        for pacing in PacingName::ALL {
            assert_eq!(pacing.name().parse::<PacingName>().expect("a pacing"), pacing);
        }
    }

    #[test]
    fn the_error_lists_what_there_is() {
        let error = "Stride".parse::<Kind>().expect_err("no kind");
        assert_eq!(error.to_string(), "no workload 'Stride': use stride, random, hot-cold, silent or idle");
    }

    #[test]
    fn a_rate_is_whose_the_name_says() {
        let pace = |name, rate| Pace::new(name, rate).map(|pace| (pace.pacing, pace.granted_bytes_per_second));
        let clock = Pacing::Clock(Clock::new(5001));
        assert_eq!(pace(None, None), Ok((Pacing::Free, None)));
        assert_eq!(pace(None, Some(5000.6)), Ok((Pacing::Granted, Some(5000.6))));
        assert_eq!(pace(Some(PacingName::Free), None), Ok((Pacing::Free, None)));
        assert_eq!(pace(Some(PacingName::Granted), None), Ok((Pacing::Granted, None)));
        assert_eq!(pace(Some(PacingName::Granted), Some(5000.6)), Ok((Pacing::Granted, Some(5000.6))));
        assert_eq!(pace(Some(PacingName::Clock), Some(5000.6)), Ok((clock, None)));
        assert_eq!(pace(Some(PacingName::Clock), None), Err(WorkloadError::ClockWithoutRate));
        assert_eq!(pace(Some(PacingName::Free), Some(1.0)), Err(WorkloadError::FreeWithRate));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = pace(Some(PacingName::Granted), Some(rate)).expect_err("no rate");
            assert!(error.to_string().starts_with(&format!("a rate of {rate} bytes per second")), "{error}");
        }
    }
}
