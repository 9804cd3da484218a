//! Measures a virtual machine with a built-in guest for half a second, and prints the guest's own count beside the
//! figure.
//!
//! ```text
//! $ cargo run -p dirtyrate-machine --example measure_guest
//! 12829 pages in 500 ms, 100.0 MiB/s
//! the guest counted 12820 to 12830 pages
//! ```

use std::time::Duration;

use dirtyrate::dirty_memory::Client;
use dirtyrate::{CancelToken, Result, host_page_size};
use dirtyrate_machine::layout::around_the_hole;
use dirtyrate_machine::vm::VmOptions;
use dirtyrate_machine::workload::{Kind, Pacing, Placement, Sharing, Workload};
use dirtyrate_machine::{Machine, MachineOptions, UnknownMmio};

/// What the example prints; and the pages that the guest counted at least, the measured pages, and those that it
/// counted at most.
pub fn measure() -> Result<(Vec<String>, [u64; 3])> {
    let never = CancelToken::new();
    let machine = Machine::new(
        &MachineOptions {
            blocks: around_the_hole(1 << 30, host_page_size())?,
            vcpus: 1,
            unknown_mmio: UnknownMmio::Stop,
            vm: VmOptions::default(),
        },
        &never,
    )?;
    let workload = Workload {
        kind: Kind::Stride,
        pages: (100 << 20) / host_page_size(),
        vcpus: 1,
        sharing: Sharing::Split,
        placement: Placement::Packed,
        pacing: Pacing::Granted,
        seed: 0,
    };
    machine.load_workload(&workload, Some(100.0 * f64::from(1 << 20)))?;
    machine.start(&never)?;

    machine.start_tracking(Client::DirtyRate)?; // 1. Turn the log on.
    machine.discard_initial_log(&never)?; // 2. Drop what a new log begins with.
    machine.clear(Client::DirtyRate)?; // 3. Open the window.
    let reports = machine.sync_at(Client::DirtyRate, &[Duration::from_millis(500)], &never)?; // 4. Fetch the log.
    let reap = &reports[0].reap; // 5. The pages were counted right after that.
    machine.abandon(Client::DirtyRate)?;

    let truth = machine.count_truth(reap.witness.as_ref(), &never)?.map_or([0, 0], |truth| [truth.lower, truth.upper]);
    let rate = reap.bytes_per_second / f64::from(1 << 20);
    let lines = vec![
        format!("{} pages in {} ms, {rate:.1} MiB/s", reap.pages, reap.window.as_millis()),
        format!("the guest counted {} to {} pages", truth[0], truth[1]),
    ];
    Ok((lines, [truth[0], reap.pages, truth[1]]))
}

#[allow(dead_code, reason = "a test takes the lines instead")]
fn main() -> Result<()> {
    measure()?.0.iter().for_each(|line| println!("{line}"));
    Ok(())
}
