//! The tracking flags: the first to be set turns logging on in every block, the last to go turns it off, and setting one
//! twice changes nothing (QEMU's `global_dirty_tracking`).

use std::time::Instant;

use super::{CancelToken, Client, DirtyMemory};
use crate::error::{Error, Result};

impl DirtyMemory {
    /// Step 1: sets the client's flag. Nothing changes if it was set. A client that begins full has every bit set.
    ///
    /// # Errors
    ///
    /// The log's refusal: the flag is not set then, and logging is as before. [`Error::Argument`] for VGA, which tracks
    /// block by block: see [`set_log_mask`](Self::set_log_mask).
    pub fn start_tracking(&mut self, client: Client) -> Result<()> {
        self.check_flag(client)?;
        if !self.tracking.insert(client) {
            return Ok(());
        }
        if let Err(error) = self.reconcile() {
            self.tracking.remove(&client);
            self.reconcile_after(&error);
            return Err(error);
        }
        for block in &mut self.blocks {
            let bits = block.bits_mut(client);
            if client.begins_full() {
                bits.bitmap.set_all();
            }
        }
        Ok(())
    }

    /// Takes the client's flag away, after a last sync: its bits tell of every write until now, and can still be reaped.
    /// Nothing changes if it was not set.
    ///
    /// # Errors
    ///
    /// A failed sync (the client still tracks), or the log's refusal to go off (it does not, and the log is turned off
    /// with the next change of a flag).
    pub fn stop_tracking(&mut self, client: Client) -> Result<()> {
        self.check_flag(client)?;
        if !self.tracking.contains(&client) {
            return Ok(());
        }
        if client.follows_log() {
            self.run_partial_sync(|memory| {
                (0..memory.blocks.len()).try_for_each(|index| memory.sync_last(index, client))
            })?;
        }
        self.tracking.remove(&client);
        self.reconcile()
    }

    /// Whether the client's flag is set; for VGA, whether any block has its mask.
    pub fn is_tracking(&self, client: Client) -> bool {
        match client {
            Client::Vga => self.blocks.iter().any(|block| block.vga),
            _ => self.tracking.contains(&client),
        }
    }

    /// Sets or takes away the VGA client's log mask of one block, which may keep that block's log on by itself. Set, the
    /// client has every page of the block.
    ///
    /// # Errors
    ///
    /// As of [`start_tracking`](Self::start_tracking) and [`stop_tracking`](Self::stop_tracking).
    pub fn set_log_mask(&mut self, block: &str, on: bool) -> Result<()> {
        let index = self.position(block)?;
        if self.blocks[index].vga == on {
            return Ok(());
        }
        if !on {
            self.run_partial_sync(|memory| memory.sync_last(index, Client::Vga))?;
        }
        self.blocks[index].vga = on;
        if let Err(error) = self.reconcile() {
            if on {
                self.blocks[index].vga = false;
                self.reconcile_after(&error);
            }
            return Err(error);
        }
        if on {
            self.blocks[index].bits_mut(Client::Vga).bitmap.set_all();
        }
        Ok(())
    }

    /// One more client for a measurement that runs beside others. It tracks nothing yet.
    pub fn open_accumulator(&mut self) -> Client {
        self.accumulators_opened += 1;
        self.accumulators.insert(self.accumulators_opened);
        Client::Accumulator(self.accumulators_opened)
    }

    /// Ends a client at once: no last sync, its flag and all its bits are gone. An accumulator is closed by it; any other
    /// client can start anew.
    ///
    /// # Errors
    ///
    /// The log's refusal to go off; the client is gone all the same.
    pub fn abandon(&mut self, client: Client) -> Result<()> {
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
        self.witness.forget(client);
        self.tallies.clear(client);
        self.reconcile()
    }

    /// Whether the client is told of this block's writes.
    pub(super) fn tracks(&self, client: Client, index: usize) -> bool {
        client.tracks(&self.tracking, self.blocks[index].vga)
    }

    /// Whether anybody but `except` needs the block's log.
    fn wanted(&self, index: usize, except: Option<Client>) -> bool {
        (self.blocks[index].vga && except != Some(Client::Vga))
            || self.tracking.iter().any(|client| client.follows_log() && Some(*client) != except)
    }

    /// The last sync of a block for a client that stops. If the log goes off with it, nobody needs the pages protected.
    fn sync_last(&mut self, index: usize, client: Client) -> Result<()> {
        if !self.blocks[index].logging {
            return Ok(());
        }
        if self.wanted(index, Some(client)) {
            self.sync_block(index, &CancelToken::new())?;
        } else {
            self.fetch_block(index)?;
        }
        Ok(())
    }

    /// Makes each block's log on or off as its clients need it. Every block is tried; the first error is returned.
    fn reconcile(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for index in 0..self.blocks.len() {
            let block = self.reconcile_block(index);
            outcome = outcome.and(block);
        }
        outcome
    }

    /// Makes one block's log on or off as its clients need it.
    pub(super) fn reconcile_block(&mut self, index: usize) -> Result<()> {
        let on = self.wanted(index, None);
        let block = &mut self.blocks[index];
        if block.logging == on {
            return Ok(());
        }
        self.log.set_logging(block.info.id, on)?;
        if on {
            block.begin_logging(self.log.initially_set(), Instant::now());
        } else {
            block.logging = false;
            block.chunks.iter_mut().for_each(|chunk| chunk.initial = false);
        }
        Ok(())
    }

    /// Undoes what a failed change turned on. A second failure is only logged: the first is what the caller must see.
    fn reconcile_after(&mut self, cause: &Error) {
        if let Err(error) = self.reconcile() {
            tracing::warn!(%error, %cause, "a dirty log could not be turned off again; the next change of a flag retries");
        }
    }

    fn check_flag(&self, client: Client) -> Result<()> {
        self.check_client(client)?;
        if client == Client::Vga {
            return Err(Error::Argument("vga tracks block by block: set the log mask of a block".to_owned()));
        }
        Ok(())
    }
}
