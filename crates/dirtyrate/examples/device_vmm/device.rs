//! A device as virtio's are: a thread takes requests from a queue, and writes guest memory for each.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use dirtyrate::{Error, Result};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Guest memory that notes what the VMM writes to it.
pub type Memory = GuestMemoryMmap<AtomicBitmap>;

/// Pages that the device is to fill.
#[derive(Clone, Copy)]
pub struct Request {
    pub address: u64,
    pub pages: u64,
    pub page_size: u64,
}

pub struct Device {
    queue: Option<Sender<Request>>,
    used: Receiver<std::result::Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    /// Starts the device's thread.
    pub fn start(memory: Arc<Memory>) -> Self {
        let (queue, requests) = channel::<Request>();
        let (done, used) = channel();
        let work = move || {
            for Request { address, pages, page_size } in requests {
                // A byte of each page, as a disk or a network card writes what has arrived. vm-memory notes the page
                // after the write.
                let written = (0..pages)
                    .try_for_each(|page| memory.write_slice(&[0xd5], GuestAddress(address + page * page_size)))
                    .map_err(|error| error.to_string());
                if done.send(written).is_err() {
                    return;
                }
            }
        };
        Self { queue: Some(queue), used, thread: Some(std::thread::spawn(work)) }
    }

    /// Puts a request into the queue.
    pub fn request(&self, request: Request) -> Result<()> {
        self.queue.as_ref().and_then(|queue| queue.send(request).ok()).ok_or_else(ended)
    }

    /// Waits until the device has carried out a request.
    pub fn wait_used(&self) -> Result<()> {
        self.used.recv().map_err(|_| ended())?.map_err(Error::State)
    }
}

fn ended() -> Error {
    Error::State("the device's thread has ended".to_owned())
}

impl Drop for Device {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong, if anything has.
            let _ = thread.join();
        }
    }
}
