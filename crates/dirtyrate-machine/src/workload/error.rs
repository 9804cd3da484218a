//! Why a guest cannot be built.

use super::contract::{MAX_ADDRESS, MAX_SEGMENTS, MAX_VCPUS};

/// Why a guest cannot be built: one variant for each thing that a caller can change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// A working set of no pages.
    #[error("the working set has no pages; it needs at least 1")]
    NoPages,
    /// More pages than the RAM has room for.
    #[error("a working set of {pages} pages does not fit in this RAM: give it at most {fit} pages, or more RAM")]
    TooManyPages {
        /// Pages asked for.
        pages: u64,
        /// Pages that surely fit.
        fit: u64,
    },
    /// No vCPU, or more than an xAPIC can name.
    #[error("{vcpus} vCPUs: a workload has 1 to {MAX_VCPUS}")]
    VcpusOutOfRange {
        /// vCPUs asked for.
        vcpus: u32,
    },
    /// With split pages, some vCPU would have none.
    #[error("{pages} pages cannot be split over {vcpus} vCPUs; each needs at least one")]
    MoreVcpusThanPages {
        /// vCPUs asked for.
        vcpus: u32,
        /// Pages asked for.
        pages: u64,
    },
    /// A rate that is not above 0.
    #[error("a rate of {bytes_per_second} bytes per second: give a positive one")]
    Rate {
        /// The rate that was asked for.
        bytes_per_second: f64,
    },
    /// A guest that is paced by its own clock needs a rate.
    #[error("a guest that is paced by its clock needs a rate")]
    ClockWithoutRate,
    /// A guest that writes as fast as it can has no rate.
    #[error("a guest that runs freely has no rate")]
    FreeWithRate,
    /// The guest's own code and tables would not lie in RAM.
    #[error("the guest's own code and tables need one piece of RAM at {start:#x}..{end:#x}{}", trampoline_condition(*trampoline))]
    ImageOutsideRam {
        /// First address needed.
        start: u64,
        /// Address after the last one needed.
        end: u64,
        /// A page that is needed too, for the start of the other vCPUs.
        trampoline: Option<u64>,
    },
    /// The share of a vCPU is in more pieces than its parameters hold.
    #[error(
        "the pages of vCPU {vcpu} lie in {segments} separate ranges; at most {MAX_SEGMENTS} are possible: use fewer or larger RAM ranges, or packed placement"
    )]
    TooManySegments {
        /// The vCPU.
        vcpu: u32,
        /// Number of pieces.
        segments: usize,
    },
    /// A RAM range that is not made of whole pages, or is empty.
    #[error(
        "the RAM range of {bytes:#x} bytes at {guest_address:#x} is not one or more whole pages of {page_size} bytes"
    )]
    Unaligned {
        /// Where the range begins.
        guest_address: u64,
        /// Its size.
        bytes: u64,
        /// Bytes in a page.
        page_size: u64,
    },
    /// A page size that no host of this architecture has.
    #[error("pages of {page_size} bytes: no host of this architecture has such")]
    PageSize {
        /// Bytes in a page.
        page_size: u64,
    },
    /// Two RAM ranges share addresses.
    #[error("the RAM range at {guest_address:#x} begins inside the one before it, which ends at {end:#x}")]
    Overlap {
        /// Where the later range begins.
        guest_address: u64,
        /// Where the earlier one ends.
        end: u64,
    },
    /// RAM that a guest with four-level page tables cannot map one to one.
    #[error("the RAM range at {guest_address:#x} reaches beyond {MAX_ADDRESS:#x}")]
    OutOfReach {
        /// Where the range begins.
        guest_address: u64,
    },
}

fn trampoline_condition(trampoline: Option<u64>) -> String {
    trampoline.map_or_else(String::new, |page| format!(", and a page of RAM at {page:#x}"))
}
