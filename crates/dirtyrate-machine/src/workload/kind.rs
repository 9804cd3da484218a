//! What a guest does, as names: the words of the API, the command line and the reports.

use std::fmt;
use std::str::FromStr;

use super::clock::Clock;

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

/// The error for a name that is no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no workload is called '{name}'; there are {}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    /// The unknown name.
    pub name: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind { name: name.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn the_error_lists_what_there_is() {
        let error = "Stride".parse::<Kind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no workload is called 'Stride'; there are stride, random, hot-cold, silent, idle"
        );
    }
}
