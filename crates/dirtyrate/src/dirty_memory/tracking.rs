//! The tracking flags. When the first flag is set, logging is turned on in every block, and when the last flag is
//! cleared, it is turned off. Setting a flag twice changes nothing (QEMU's `global_dirty_tracking`).

use super::bits::DirtyBits;
use super::client::Client;
use super::memory::DirtyMemory;
use super::window::Window;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

impl DirtyMemory {
    /// Step 1: sets the client's flag. Nothing changes if it is set already. A client that begins full gets every bit.
    ///
    /// # Errors
    ///
    /// The log's error, or [`Error::OutOfMemory`]. The flag is not set then, and logging is as before.
    /// [`Error::Argument`] for VGA, which tracks block by block: see [`set_log_mask`](Self::set_log_mask).
    pub fn start_tracking(&mut self, client: Client) -> Result<()> {
        {
            let mut bits = self.bits();
            bits.check_flag(client)?;
            if !bits.tracking.insert(client) {
                return Ok(());
            }
        }
        let started = self.run_event(|memory| {
            memory.reconcile()?;
            memory.bits().begin_tracking(client)
        });
        if started.is_ok() && client.begins_full() {
            (0..self.block_count()).for_each(|index| self.fill(client, index));
        }
        if let Err(error) = started {
            self.bits().tracking.remove(&client);
            self.reconcile_after(&error);
            return Err(error);
        }
        Ok(())
    }

    /// Does a last sync and clears the client's flag. The client's bits contain every write until now, and can still be
    /// reaped. Nothing changes if the flag is not set.
    ///
    /// # Errors
    ///
    /// The error of the sync; the client still tracks then. Or the error of turning the log off; then the client does
    /// not track any more, and the log is turned off with the next change of a flag.
    pub fn stop_tracking(&mut self, client: Client) -> Result<()> {
        {
            let bits = self.bits();
            bits.check_flag(client)?;
            if !bits.tracking.contains(&client) {
                return Ok(());
            }
        }
        if client.follows_log() {
            self.run_partial_sync(|memory| {
                (0..memory.block_count()).try_for_each(|index| memory.sync_last(index, client))
            })?;
        }
        {
            let mut bits = self.bits();
            bits.tracking.remove(&client);
            bits.ledger.stop(client);
        }
        self.reconcile()
    }

    /// Sets or clears the log mask of the VGA client in one block. The mask alone keeps the log of this block on. When
    /// the mask is set, the client gets every page of the block.
    ///
    /// # Errors
    ///
    /// Those of [`start_tracking`](Self::start_tracking) and [`stop_tracking`](Self::stop_tracking).
    pub fn set_log_mask(&mut self, block: &str, on: bool) -> Result<()> {
        let index = {
            let bits = self.bits();
            let index = bits.position(block)?;
            if bits.blocks[index].vga == on {
                return Ok(());
            }
            index
        };
        if !on {
            self.run_partial_sync(|memory| memory.sync_last(index, Client::Vga))?;
        }
        {
            let mut bits = self.bits();
            bits.blocks[index].vga = on;
            // Without a mask the client gets no more writes, as a client whose flag is cleared.
            if !bits.blocks.iter().any(|block| block.vga) {
                bits.ledger.stop(Client::Vga);
            }
        }
        let changed = self.run_event(|memory| {
            memory.reconcile()?;
            if on {
                let mut bits = memory.bits();
                let vcpus = bits.vcpus;
                let block = &mut bits.blocks[index];
                block.make_bits(Client::Vga, vcpus)?;
                block.begin_tracking(Client::Vga);
                bits.ledger.ask(Client::Vga, false);
            }
            Ok(())
        });
        match &changed {
            Ok(()) if on => self.fill(Client::Vga, index),
            Err(error) if on => {
                self.bits().blocks[index].vga = false;
                self.reconcile_after(error);
            }
            _ => {}
        }
        changed
    }

    /// Ends a client at once, without a last sync: its flag is cleared, and all its bits are dropped. An accumulator is
    /// closed; any other client can start again.
    ///
    /// # Errors
    ///
    /// The error of turning the log off. The client is ended all the same.
    pub fn abandon(&mut self, client: Client) -> Result<()> {
        self.bits().forget(client);
        self.reconcile()
    }

    pub(super) fn block_count(&self) -> usize {
        self.bits().blocks.len()
    }

    /// Does the last sync of a block for a client that stops. If the log is turned off afterwards, the pages need no
    /// protection.
    fn sync_last(&mut self, index: usize, client: Client) -> Result<()> {
        let (logging, wanted) = {
            let bits = self.bits();
            (bits.blocks[index].logging, bits.wants_log(index, Some(client)))
        };
        match (logging, wanted) {
            (false, _) => Ok(()),
            (true, true) => self.sync_block(index, &CancelToken::new()).map(drop),
            (true, false) => self.fetch_block(index).map(drop),
        }
    }

    /// Turns the log of each block on or off, as its clients need it. Tries every block, and returns the first error.
    fn reconcile(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for index in 0..self.block_count() {
            let block = self.reconcile_block(index);
            outcome = outcome.and(block);
        }
        outcome
    }

    /// Turns the log of one block on or off, as its clients need it.
    pub(super) fn reconcile_block(&mut self, index: usize) -> Result<()> {
        let (on, logging, id) = {
            let bits = self.bits();
            (bits.wants_log(index, None), bits.blocks[index].logging, bits.blocks[index].info.id)
        };
        if logging == on {
            return Ok(());
        }
        self.log.set_logging(id, on)?;
        let initially_set = self.log.initially_set();
        let mut bits = self.bits();
        let now = bits.ledger.edge_now();
        let block = &mut bits.blocks[index];
        if on {
            block.begin_logging(initially_set, now);
        } else {
            block.end_logging();
        }
        Ok(())
    }

    /// Turns off what a failed change turned on. A second failure is only logged, because the caller must see the first
    /// one.
    fn reconcile_after(&mut self, cause: &Error) {
        if let Err(error) = self.reconcile() {
            tracing::warn!(%error, %cause, "a dirty log could not be turned off again; the next change of a flag retries");
        }
    }
}

impl DirtyBits {
    /// Gives bits of every block to a client that tracks from now on. If there is not enough memory, the client has
    /// what it had before.
    fn begin_tracking(&mut self, client: Client) -> Result<()> {
        let mut made = Vec::new();
        for index in 0..self.blocks.len() {
            match self.blocks[index].make_bits(client, self.vcpus) {
                Ok(true) => made.push(index),
                Ok(false) => {}
                Err(error) => {
                    for index in made {
                        self.blocks[index].bits.remove(&client);
                    }
                    return Err(error);
                }
            }
        }
        let windows = self.blocks.iter().chain(&self.removed).filter_map(|block| block.bits.get(&client));
        let unbroken = windows.flat_map(|bits| &bits.windows).all(Window::is_new);
        for block in &mut self.blocks {
            block.begin_tracking(client);
        }
        self.ledger.ask(client, unbroken);
        if client.measures() {
            self.losses.entry(client).or_default();
        }
        Ok(())
    }

    fn forget(&mut self, client: Client) {
        self.tracking.remove(&client);
        if let Client::Accumulator(number) = client {
            self.accumulators.remove(&number);
        }
        for block in self.blocks.iter_mut().chain(&mut self.removed) {
            block.bits.remove(&client);
            if client == Client::Vga {
                block.vga = false;
            }
        }
        self.removed.retain(|block| !block.bits.is_empty());
        self.losses.remove(&client);
        self.ledger.forget(client);
    }

    /// Whether a client other than `except` needs the block's log.
    fn wants_log(&self, index: usize, except: Option<Client>) -> bool {
        (self.blocks[index].vga && except != Some(Client::Vga))
            || self.tracking.iter().any(|client| client.follows_log() && Some(*client) != except)
    }

    fn check_flag(&self, client: Client) -> Result<()> {
        self.check_client(client)?;
        if client == Client::Vga {
            return Err(Error::Argument("vga tracks block by block: set the log mask of a block".to_owned()));
        }
        Ok(())
    }
}
