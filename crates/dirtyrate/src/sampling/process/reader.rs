//! The reader of another process's memory.

use std::io;
use std::sync::Arc;

use super::super::reader::{Contents, Look, PageBlock, PageReader};
use super::backing::{Backing, FilePage};
use super::kept::{Kept, replaced};
use super::mappings::Mapping;
use super::presence::{Presence, PresenceMap};
use super::process_fd::Process;
use super::ranges::{MappedRanges, ProcessRange};
use crate::error::{Error, Result};
use crate::page_size::host_page_size;

/// How many pages one `process_vm_readv` reads. Larger batches gain nothing, and only make a single call longer.
const BATCH: usize = 64;

/// Reads ranges of another process's memory, while the process may write them.
///
/// **Private memory** is read with `process_vm_readv`, and only those of its pages that are in memory and are not the
/// kernel's page of zeros. **Shared memory** is read by its file, because the page tables of one process do not say
/// which of its pages exist, and because reading a file maps nothing. If the file cannot be opened, it is read as
/// private memory is, and pages that the process has not mapped are not read. **A page in swap, or of a file and only
/// on the disk**, is [`Contents::NotInMemory`].
#[derive(Debug)]
pub struct ProcessReader {
    process: Arc<Process>,
    blocks: Vec<PageBlock>,
    ranges: MappedRanges,
    /// For each block, the mappings that it is made of.
    segments: Vec<Vec<Segment>>,
    presence: PresenceMap,
    page_size: u64,
    pages: Box<[u8]>,
    page: Box<[u8]>,
    /// For each block, what this pass found of the pages that were in memory before.
    kept: Vec<Kept>,
}

/// A part of a block with one kind of memory.
#[derive(Debug)]
struct Segment {
    mapping: Mapping,
    backing: Option<Backing>,
}

impl ProcessReader {
    /// Makes a reader of `ranges` of `process`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a range that is not whole pages, or that is not mapped from end to end, or not readable;
    /// [`Error::ProcessGone`].
    pub fn new(process: Arc<Process>, ranges: &[ProcessRange]) -> Result<Self> {
        let page_size = host_page_size();
        let maps = process.maps()?;
        let mapped = MappedRanges::new(Arc::clone(&process), &maps, ranges, page_size)?;
        let mut segments = Vec::with_capacity(ranges.len());
        for (range, (_, mappings)) in ranges.iter().zip(mapped.iter()) {
            let with_backing = |mapping: Mapping| {
                let backing = mapping.has_file().then(|| Backing::open(process.pid(), &maps, &mapping)).flatten();
                if mapping.has_file() && backing.is_none() {
                    tracing::debug!(
                        range = range.name,
                        "the file of this memory cannot be opened: it is read by its pages"
                    );
                }
                Segment { mapping, backing }
            };
            segments.push(mappings.iter().cloned().map(with_backing).collect());
        }
        let block = |range: &ProcessRange| PageBlock {
            name: range.name.clone(),
            guest_address: range.guest_address,
            pages: range.bytes / page_size,
        };
        let presence = PresenceMap::of(process.pagemap())
            .map_err(|source| Error::refused("fcntl(F_DUPFD_CLOEXEC)", "the pagemap of another process", source))?;
        Ok(Self {
            blocks: ranges.iter().map(block).collect(),
            kept: vec![Kept::default(); ranges.len()],
            ranges: mapped,
            segments,
            presence,
            page_size,
            pages: vec![0; BATCH * page_size as usize].into_boxed_slice(),
            page: vec![0; page_size as usize].into_boxed_slice(),
            process,
        })
    }

    /// Asks about pages as on kernels before Linux 6.7.
    ///
    /// # Errors
    ///
    /// If there are no more file descriptors.
    #[cfg(any(test, feature = "testing"))]
    pub fn without_scans(mut self) -> Result<Self> {
        self.presence.without_scans().map_err(Error::vmm)?;
        Ok(self)
    }

    /// Begins another pass over the pages, which [`check_memory`](Self::check_memory) is then about.
    pub fn begin_pass(&mut self) {
        self.kept.fill(Kept::default());
    }

    /// Fails if the process is no longer what it was, or has other memory in one of the ranges than at the beginning:
    /// the mappings are others, a file has become shorter, or none of the pages that were in memory is there any more.
    /// What [`read`](PageReader::read) has shown is the memory of the process only if this succeeds afterwards, because
    /// the process may execute another program at any time. Memory that was replaced by memory of the same kind, and
    /// then written, cannot be told from memory that was written.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`].
    pub fn check_memory(&self) -> Result<()> {
        self.ranges.check()?;
        for backing in self.segments.iter().flatten().filter_map(|segment| segment.backing.as_ref()) {
            backing.file().check(&self.process)?;
        }
        for (block, kept) in self.blocks.iter().zip(&self.kept) {
            if kept.is_replaced() {
                return Err(replaced(&self.process, &block.name));
            }
        }
        Ok(())
    }

    /// The error for memory that cannot be read, although it is mapped as it was.
    fn unreadable(&self, address: u64, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::EPERM) => self.process.refused(source),
            _ => match self.check_memory() {
                Err(error) => error,
                Ok(()) => Error::refused("process_vm_readv", format!("address {address:#x}"), source),
            },
        }
    }

    /// Reads the pages at `addresses`, which are in memory, to the beginning of `self.pages`.
    fn read_present(&mut self, addresses: &[u64]) -> Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        let page_size = self.page_size as usize;
        let local = libc::iovec { iov_base: self.pages.as_mut_ptr().cast(), iov_len: addresses.len() * page_size };
        let mut remote = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: page_size }; BATCH];
        for (part, &address) in remote.iter_mut().zip(addresses) {
            part.iov_base = std::ptr::without_provenance_mut(address as usize);
        }
        assert!(addresses.len() <= BATCH);
        let (pid, parts) = (self.process.pid() as libc::pid_t, addresses.len() as libc::c_ulong);
        // SAFETY: `pages` has room for a batch, which `addresses` is not longer than; the remote parts are addresses of
        // another process, which the call only reads.
        let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, remote.as_ptr(), parts, 0) };
        match usize::try_from(read) {
            Ok(bytes) if bytes == addresses.len() * page_size => Ok(()),
            // A short count ends where the first page could not be read.
            Ok(bytes) => Err(self.unreadable(addresses[bytes / page_size], io::Error::from_raw_os_error(libc::EFAULT))),
            Err(_) => Err(self.unreadable(addresses[0], io::Error::last_os_error())),
        }
    }

    /// Looks at pages of one segment; `looks` have the places from `first` on.
    fn read_segment(
        &mut self,
        (block, segment): (usize, usize),
        first: usize,
        looks: &[Look],
        visit: &mut dyn FnMut(usize, Contents<'_>),
    ) -> Result<()> {
        let start = self.ranges.addresses(block).start;
        let address_of = |look: &Look| start + look.page * self.page_size;
        let addresses: Vec<u64> = looks.iter().map(address_of).collect();
        let of = &mut self.segments[block][segment];
        if let Some(backing) = &mut of.backing {
            backing.forget();
        }
        // The file of private memory does not have what the process has written.
        let by_file = of.mapping.shared && of.backing.is_some();
        let mut found = Vec::with_capacity(looks.len());
        if !by_file {
            match self.presence.find(&addresses, &mut found) {
                Ok(()) => {}
                Err(failed) => {
                    self.process.check()?;
                    return Err(failed.about(format!("the pagemap at {:#x}", addresses[0])));
                }
            }
            let here = |&(_, &presence): &(&u64, &Presence)| presence == Presence::Present;
            let present: Vec<u64> = addresses.iter().zip(&found).filter(here).map(|(&address, _)| address).collect();
            // After an exec the next question about presence fails, and so does `check_memory`.
            self.read_present(&present)?;
        }
        let page_size = self.page_size as usize;
        let kept = &mut self.kept[block];
        let visit = &mut |place: usize, contents: Contents<'_>| {
            if looks[place - first].touched {
                match contents {
                    Contents::Bytes(_) => kept.present += 1,
                    Contents::Untouched => kept.vanished += 1,
                    Contents::NotInMemory => {}
                }
            }
            visit(place, contents);
        };
        let mut pages = self.pages.chunks_exact(page_size);
        let Segment { mapping, backing } = &mut self.segments[block][segment];
        for (place, &address) in addresses.iter().enumerate() {
            let place = first + place;
            match found.get(place - first) {
                Some(Presence::Present) => visit(place, Contents::Bytes(pages.next().expect("a page for each"))),
                Some(Presence::Zero) => visit(place, Contents::Untouched),
                Some(Presence::Swapped) => visit(place, Contents::NotInMemory),
                // What the process has not touched yet is what the file has.
                Some(Presence::Absent) | None => match backing {
                    None if mapping.has_file() => visit(place, Contents::NotInMemory),
                    None => visit(place, Contents::Untouched),
                    Some(backing) => {
                        let read = backing.read(mapping.file_offset(address), &mut self.page);
                        match read.map_err(|failed| failed.about("the file of a process's memory"))? {
                            FilePage::Hole => visit(place, Contents::Untouched),
                            FilePage::NotInMemory => visit(place, Contents::NotInMemory),
                            FilePage::Read => visit(place, Contents::Bytes(&self.page)),
                        }
                    }
                },
            }
        }
        Ok(())
    }
}

impl PageReader for ProcessReader {
    fn page_size(&self) -> u64 {
        self.page_size
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.blocks
    }

    fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        let info = self
            .blocks
            .get(block)
            .ok_or_else(|| Error::Argument(format!("there is no block number {block} to look at")))?;
        if looks.iter().any(|look| look.page >= info.pages) {
            let text = format!("a page beyond block '{}', which has {} pages", info.name, info.pages);
            return Err(Error::Argument(text));
        }
        let start = self.ranges.addresses(block).start;
        let mut first = 0;
        while let Some(look) = looks.get(first) {
            let address = start + look.page * self.page_size;
            let segments = &self.segments[block];
            let segment = segments.partition_point(|segment| segment.mapping.addresses.end <= address);
            let end = segments[segment].mapping.addresses.end;
            let within = |look: &Look| start + look.page * self.page_size < end;
            let count = looks[first..].iter().take(BATCH).take_while(|look| within(look)).count();
            self.read_segment((block, segment), first, &looks[first..first + count], visit)?;
            first += count;
        }
        Ok(())
    }
}
