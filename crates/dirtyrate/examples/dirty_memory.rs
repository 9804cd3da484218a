//! Dirty memory over a log: two clients, the five steps, and a write by the host. The log is [`FakeLog`], which keeps
//! the contract of KVM's log without a kernel, and is there for your tests too, with the feature `testing`. A VMM gives
//! `kvm::BitmapLog` in its place.
//!
//! ```text
//! $ cargo run -p dirtyrate --example dirty_memory
//! the measurement found 3 pages: [5, 6, 90]
//! the migration begins with 100 pages, and the measurement took none of them
//! after that the migration has 2 pages: [7, 90]
//! ```

use dirtyrate::bitmap::PageBitmap;
use dirtyrate::dirty_memory::{Client, DirtyMemory, FakeLog, FakeProtect};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Result};

const PAGE_SIZE: u64 = 4096;
const RAM: BlockId = BlockId(1);

/// What the example prints, line by line.
pub fn run() -> Result<Vec<String>> {
    // Clones are the same log: the guest writes through this one.
    let guest = FakeLog::new(FakeProtect::ManualInitiallySet);
    guest.add_block(RAM, 100);
    let mut memory = DirtyMemory::new(Box::new(guest.clone()), PAGE_SIZE, 64 * PAGE_SIZE);
    memory.add_block(BlockInfo { id: RAM, name: "ram".to_owned(), guest_address: 0, pages: 100 })?;
    let never = CancelToken::new();

    memory.start_tracking(Client::Migration)?; // Begins with every page.
    memory.start_tracking(Client::DirtyRate)?; // 1. The log is on.
    memory.discard_initial_log(&never)?; // 2. What a log begins with are no writes.
    memory.clear(Client::DirtyRate)?; // 3. The window opens.
    guest.guest_write(RAM, 5);
    guest.guest_write(RAM, 6);
    memory.bits().mark_host_write(90 * PAGE_SIZE, 8); // A device's write is in no log.
    memory.sync(&never)?; // 4. The bits go to both clients.
    let mut lines = vec![format!("the measurement found {}", describe(&memory, Client::DirtyRate)?)];
    memory.take(Client::DirtyRate)?; // 5. Counted and taken, from this client alone.

    let sent = memory.take(Client::Migration)?.pages;
    lines.push(format!("the migration begins with {sent} pages, and the measurement took none of them"));
    guest.guest_write(RAM, 7);
    guest.guest_write(RAM, 90);
    memory.sync(&never)?;
    lines.push(format!("after that the migration has {}", describe(&memory, Client::Migration)?));
    Ok(lines)
}

fn describe(memory: &DirtyMemory, client: Client) -> Result<String> {
    let bits = memory.bits();
    let pages: Vec<u64> = bits
        .bitmap(client, "ram")?
        .map_or_else(Vec::new, |bitmap: &PageBitmap| bitmap.ranges().flat_map(|run| run.first..run.end()).collect());
    Ok(format!("{} pages: {pages:?}", pages.len()))
}

#[allow(dead_code, reason = "a test takes the lines instead")]
fn main() -> Result<()> {
    run()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
