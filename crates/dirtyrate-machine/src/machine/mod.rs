//! A machine around a VM: RAM around the PCI hole, an interrupt controller and a timer in the kernel, a serial port,
//! and a kernel that was loaded by PVH, by Linux's own protocol, or by the protocol of arm64. This is enough for the
//! guests of [`workload`](crate::workload) and for Linux. Linux finds the vCPUs, and how to power off, in ACPI tables
//! on x86-64 and in a device tree on arm64.

mod guest;
mod pacer;
mod sample;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use guest::{Guest, Truth, TruthCounts};
use pacer::Pacer;
pub use sample::{SampleOptions, SampleReport};

use crate::arch;
use crate::boot::{self, KernelOptions};
use crate::devices::{Bus, Console, UnknownMmio, irqchip};
use crate::layout;
use crate::vcpu::Crash;
use crate::vcpu::RunState;
use crate::vm::{BlockSpec, Vm, VmOptions};
use crate::workload::{Counters, Pacing, RamRange, Workload, WorkloadError};
use dirtyrate::dirty_memory::{
    Client, DeadlineReport, Reap, ReapOptions, SyncReport, Witness, WitnessedWindow, sync_at_with, take_at_with,
};
use dirtyrate::{BlockInfo, CancelToken, Error, Result};

/// How long a guest may take to set itself up: far more than any of ours needs, even emulated.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of [`READY_TIMEOUT`] one look at a guest that is not ready uses up at most.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// How often a wait for the guest looks at its memory.
const POLL: Duration = Duration::from_micros(500);

/// How to make a machine.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// The machine's RAM: see [`layout::around_the_hole`] for the usual blocks.
    pub blocks: Vec<BlockSpec>,
    /// How many vCPUs; the first one boots.
    pub vcpus: u32,
    /// What an access to an address does that has neither memory nor a device.
    pub unknown_mmio: UnknownMmio,
    /// The options of the VM.
    pub vm: VmOptions,
}

/// A machine. All methods can be called from any thread.
pub struct Machine {
    // This is dropped first, so that no pacer grants writes while the VM is being dropped.
    guest: Mutex<Option<Loaded>>,
    vm: Arc<Vm>,
    bus: Arc<Bus>,
    loaded: Mutex<bool>,
}

/// A built-in guest, and the thread that paces it if the host does so.
struct Loaded {
    guest: Arc<Guest>,
    _pacer: Option<Pacer>,
}

impl Machine {
    /// Makes a machine that is not loaded and not started. `cancel` ends the making of a large one early.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`], which names the block; [`Error::Argument`] for the number of vCPUs; those of [`Vm::new`].
    pub fn new(options: &MachineOptions, cancel: &CancelToken) -> Result<Self> {
        if options.blocks.is_empty() {
            return Err(Error::Argument("a virtual machine needs at least one RAM block".to_owned()));
        }
        let mut vm = Vm::new(&options.vm)?;
        irqchip::create_before_vcpus(vm.fd())?;
        vm.create_vcpus(options.vcpus)?;
        irqchip::create_after_vcpus(vm.fd(), options.vcpus)?;
        for block in &options.blocks {
            cancel.check()?;
            layout::check_clear_of_devices(block)?;
            vm.add_block(block)?;
        }
        let bus = Arc::new(Bus::new(vm.fd(), options.unknown_mmio)?);
        Ok(Self { guest: Mutex::new(None), vm: Arc::new(vm), bus, loaded: Mutex::new(false) })
    }

    /// Adds a RAM block: see [`Vm::add_block`].
    ///
    /// # Errors
    ///
    /// Those of [`Vm::add_block`]; and [`Error::Layout`] for one that covers the interrupt controllers.
    pub fn add_block(&self, spec: &BlockSpec) -> Result<BlockInfo> {
        layout::check_clear_of_devices(spec)?;
        self.vm.add_block(spec)
    }

    /// The VM: its memory, blocks and dirty memory.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// The output of the guest's serial port.
    pub fn console(&self) -> &Arc<Console> {
        self.bus.console()
    }

    /// What the machine is doing.
    pub fn state(&self) -> RunState {
        self.vm.vcpus().map_or(RunState::Created, |vcpus| vcpus.state())
    }

    /// Why it crashed.
    pub fn crash(&self) -> Option<Crash> {
        self.vm.vcpus().ok().and_then(|vcpus| vcpus.crash())
    }

    /// Loads a kernel. Only the parts of the files that have to be in memory are read, and zeros take no memory. If a
    /// load is cancelled, or fails while it copies, zeros remain where it had begun. A load that is refused leaves
    /// guest memory as it was.
    ///
    /// # Errors
    ///
    /// [`MachineError::KernelImage`](crate::MachineError::KernelImage), which names the file; [`Error::Argument`] for
    /// the command line or a name; [`Error::State`] if something was loaded or started already, or the machine is shut
    /// down meanwhile; [`Error::Cancelled`].
    pub fn load_kernel(&self, options: &KernelOptions, cancel: &CancelToken) -> Result<()> {
        let mut loaded = self.check_loadable()?;
        let vcpus = self.vm.vcpus()?;
        let go_on = || {
            cancel.check()?;
            vcpus.check_not_started()
        };
        boot::load_file(&self.vm, options, &go_on)?;
        self.bus.ignore_unknown_mmio_by_default();
        *loaded = true;
        Ok(())
    }

    /// Builds a guest with a known answer for this machine's RAM, and loads it. With `bytes_per_second` a thread grants
    /// writes at that rate while the machine runs; the workload must have
    /// [`Pacing::Granted`](crate::workload::Pacing::Granted). A guest that is paced by its own clock is told here how
    /// fast the clock runs, and that this machine lets it rest while it waits.
    ///
    /// # Errors
    ///
    /// [`MachineError::Workload`](crate::MachineError::Workload); [`Error::State`] if something was loaded or started
    /// already.
    pub fn load_workload(&self, workload: &Workload, bytes_per_second: Option<f64>) -> Result<()> {
        let mut loaded = self.check_loadable()?;
        let vcpus = self.vm.vcpus()?.count();
        if workload.vcpus as usize > vcpus {
            let text = format!("a workload of {} vCPUs on a machine of {vcpus}", workload.vcpus);
            return Err(Error::Argument(text));
        }
        let page_size = self.vm.capabilities().page_size;
        let ram: Vec<_> = self.vm.blocks().iter().map(|block| ram_range(block, page_size)).collect();
        if let Some(bytes_per_second) = bytes_per_second.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(WorkloadError::Rate { bytes_per_second }.into());
        }
        let mut workload = *workload;
        if let Pacing::Clock(clock) = &mut workload.pacing {
            clock.ticks_per_second =
                self.vm.vcpus()?.set_up_with(|vcpus| Ok(vcpus.first().and_then(arch::ticks_per_second)))?;
            clock.rests = true;
        }
        let image = workload.build(&ram, page_size)?;
        let go_on = || self.vm.vcpus()?.check_not_started();
        boot::load_bytes(&self.vm, image.elf(), Path::new("built-in guest"), &go_on)?;
        let guest = Guest::new(&self.vm, image)?;
        let pacer = bytes_per_second.map(|rate| Pacer::start(&guest, rate)).transpose()?;
        self.vm.lock_dirty_memory().set_witness(Some(Arc::clone(&guest) as Arc<dyn Witness>));
        *self.lock_guest() = Some(Loaded { guest, _pacer: pacer });
        *loaded = true;
        Ok(())
    }

    /// Starts the machine. With a workload, this returns when all vCPUs of the guest are set up. From then on they
    /// write only what the workload says. A machine that cannot be started, or whose start was cancelled, is shut down.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if nothing is loaded or it was started already;
    /// [`MachineError::GuestCrashed`](crate::MachineError::GuestCrashed); [`Error::Limit`], which names the limit of
    /// this host that a vCPU has reached; [`Error::Cancelled`].
    pub fn start(&self, cancel: &CancelToken) -> Result<()> {
        if !*self.lock_loaded() {
            let text = "nothing is loaded: load a workload or a kernel before the start".to_owned();
            return Err(Error::State(text));
        }
        cancel.check()?;
        let vcpus = self.vm.vcpus()?;
        let exits: Arc<dyn crate::vcpu::ExitHandler> = Arc::clone(&self.bus) as _;
        vcpus.start(&exits)?;
        let Ok(guest) = self.guest() else { return Ok(()) };
        self.wait_ready(&guest, cancel).inspect_err(|_| {
            // A second error is dropped, because the caller must see the first one. Dropping the machine waits for the
            // vCPUs again.
            let _ = vcpus.shutdown();
        })
    }

    fn wait_ready(&self, guest: &Guest, cancel: &CancelToken) -> Result<()> {
        let vcpus = self.vm.vcpus()?;
        // However long a pause was, it counts as one look, because a process that was stopped meanwhile has not waited.
        let mut waited = Duration::ZERO;
        while !guest.ready() {
            vcpus.check_running("started")?;
            if waited > READY_TIMEOUT {
                let text = format!("the guest was not ready {} s after its start", READY_TIMEOUT.as_secs());
                return Err(Error::State(text));
            }
            let began = Instant::now();
            cancel.sleep_until(began + POLL)?;
            waited += began.elapsed().min(LONGEST_LOOK);
        }
        // As in `settled`: after this, everything that the guest did to get ready is in the log, if it is logged at
        // all.
        vcpus.hold(|| ())
    }

    /// Pauses the guest. When this returns, everything that the guest wrote is in the log.
    pub fn pause(&self) -> Result<()> {
        self.vm.vcpus()?.pause()
    }

    /// Lets a paused guest run again.
    pub fn resume(&self) -> Result<()> {
        self.vm.vcpus()?.resume()
    }

    /// Ends the guest and joins its threads. Memory and bits can still be read.
    ///
    /// # Errors
    ///
    /// Those of [`Vcpus::shutdown`](crate::vcpu::Vcpus::shutdown).
    pub fn shutdown(&self) -> Result<()> {
        let ended = self.vm.vcpus().and_then(|vcpus| vcpus.shutdown());
        // A machine that was never started has no vCPU thread that would end the console.
        self.console().end();
        ended
    }

    /// Step 1 of a measurement: see
    /// [`DirtyMemory::start_tracking`](dirtyrate::dirty_memory::DirtyMemory::start_tracking).
    pub fn start_tracking(&self, client: Client) -> Result<()> {
        self.vm.lock_dirty_memory().start_tracking(client)
    }

    /// Step 2: see [`DirtyMemory::discard_initial_log`](dirtyrate::dirty_memory::DirtyMemory::discard_initial_log).
    pub fn discard_initial_log(&self, cancel: &CancelToken) -> Result<SyncReport> {
        self.vm.lock_dirty_memory().discard_initial_log(cancel)
    }

    /// Step 3: see [`DirtyMemory::clear`](dirtyrate::dirty_memory::DirtyMemory::clear).
    pub fn clear(&self, client: Client) -> Result<()> {
        self.vm.lock_dirty_memory().clear(client)
    }

    /// Ends a client: see [`DirtyMemory::abandon`](dirtyrate::dirty_memory::DirtyMemory::abandon).
    pub fn abandon(&self, client: Client) -> Result<()> {
        self.vm.lock_dirty_memory().abandon(client)
    }

    /// Step 4: see [`sync_at`](dirtyrate::dirty_memory::sync_at). The guest must run from the client's last clear, take
    /// or start until the window closes: a pause or a crash inside a window is an error, not a figure.
    pub fn sync_at(&self, client: Client, deadlines: &[Duration], cancel: &CancelToken) -> Result<Vec<DeadlineReport>> {
        self.sync_at_with(client, deadlines, &ReapOptions::default(), cancel)
    }

    /// The same with reaps that count what `options` ask for: see [`sync_at_with`].
    pub fn sync_at_with(
        &self,
        client: Client,
        deadlines: &[Duration],
        options: &ReapOptions,
        cancel: &CancelToken,
    ) -> Result<Vec<DeadlineReport>> {
        let vcpus = self.vm.vcpus()?;
        vcpus.check_running("measured")?;
        let alive = || vcpus.check_running("measured");
        sync_at_with(|| self.vm.lock_dirty_memory(), client, deadlines, options, cancel, alive)
    }

    /// The steps 4 and 5 at one deadline: see [`take_at`](dirtyrate::dirty_memory::take_at). The guest must run all the
    /// time, as with [`sync_at`](Self::sync_at).
    pub fn take_at(
        &self,
        client: Client,
        deadline: Duration,
        cancel: &CancelToken,
    ) -> Result<(DeadlineReport, Duration)> {
        self.take_at_with(client, deadline, &ReapOptions::default(), cancel)
    }

    /// The same with a reap that counts what `options` ask for: see [`take_at_with`].
    pub fn take_at_with(
        &self,
        client: Client,
        deadline: Duration,
        options: &ReapOptions,
        cancel: &CancelToken,
    ) -> Result<(DeadlineReport, Duration)> {
        let vcpus = self.vm.vcpus()?;
        vcpus.check_running("measured")?;
        let alive = || vcpus.check_running("measured");
        take_at_with(|| self.vm.lock_dirty_memory(), client, deadline, options, cancel, alive)
    }

    /// Step 5, which waits for no sync: see [`DirtyMemory::reap`](dirtyrate::dirty_memory::DirtyMemory::reap).
    pub fn reap(&self, client: Client) -> Result<Reap> {
        self.vm.lock_dirty_bits().reap(client)
    }

    /// Step 5, which also takes the bits: see [`DirtyMemory::take`](dirtyrate::dirty_memory::DirtyMemory::take).
    pub fn take(&self, client: Client) -> Result<Reap> {
        self.vm.lock_dirty_memory().take(client)
    }

    /// The guest with a known answer.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if none is loaded.
    pub fn guest(&self) -> Result<Arc<Guest>> {
        self.lock_guest()
            .as_ref()
            .map(|loaded| Arc::clone(&loaded.guest))
            .ok_or_else(|| Error::State("no workload is loaded: only a built-in guest knows its truth".to_owned()))
    }

    /// What a workload wrote in a window; `None` without one.
    pub fn truth(&self, window: Option<&WitnessedWindow>) -> Option<Truth> {
        self.guest().ok()?.truth_of_window(window?, &CancelToken::new()).ok()
    }

    /// How many pages a workload wrote in a window; `None` without one.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn count_truth(&self, window: Option<&WitnessedWindow>, cancel: &CancelToken) -> Result<Option<TruthCounts>> {
        match (self.guest(), window) {
            (Ok(guest), Some(window)) => guest.count_truth_of_window(window, cancel).map(Some),
            _ => Ok(None),
        }
    }

    /// The counters of the workload, read while no grant is half done.
    ///
    /// # Errors
    ///
    /// Those of [`guest`](Self::guest).
    pub fn counters(&self) -> Result<Counters> {
        let guest = self.guest()?;
        let _no_grant = self.vm.lock_dirty_bits();
        Ok(guest.counters())
    }

    /// Waits until the workload has made every write that was granted to it, and all of them are in the log.
    ///
    /// # Errors
    ///
    /// [`Error::State`] and [`MachineError::GuestCrashed`](crate::MachineError::GuestCrashed) if the guest does not
    /// run; [`Error::Cancelled`].
    pub fn settled(&self, cancel: &CancelToken) -> Result<()> {
        let guest = self.guest()?;
        while !guest.settled() {
            self.vm.vcpus()?.check_running("waited for")?;
            cancel.sleep_until(Instant::now() + POLL)?;
        }
        // A KVM that emulates the guest stores first and logs the page just afterwards. So a count can be read before
        // the page of this count is in the log. Once each vCPU has left the guest, both are done.
        self.vm.vcpus()?.hold(|| ())
    }

    fn check_loadable(&self) -> Result<MutexGuard<'_, bool>> {
        let loaded = self.lock_loaded();
        if *loaded {
            return Err(Error::State("a guest is loaded already".to_owned()));
        }
        self.vm.vcpus()?.check_not_started()?;
        Ok(loaded)
    }

    fn lock_loaded(&self) -> MutexGuard<'_, bool> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_guest(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Not under the lock, because the pacer is waited for.
        let loaded = self.lock_guest().take();
        drop(loaded);
        self.vm.lock_dirty_memory().set_witness(None);
        // Dropping the VM waits for its vCPUs again, and logs an error if one does not stop.
        let _ = self.shutdown();
    }
}

fn ram_range(block: &BlockInfo, page_size: u64) -> RamRange {
    RamRange { guest_address: block.guest_address, bytes: block.pages * page_size }
}
