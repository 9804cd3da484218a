//! `NativeVirtualMachine`: making one, its life, its memory. Its dirty memory is in `dirty_memory.rs`, its built-in guest in
//! `guest.rs`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dirtyrate::dirty_memory::BlockInfo;
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate::kvm::{BlockSpec, LogKind, ManualProtect, RunState, VmOptions};
use dirtyrate::machine::{KernelOptions, Machine, MachineOptions, UnknownMmio};
use dirtyrate::{Error, dirty_memory};
use napi::Env;
use napi::bindgen_prelude::{Object, Uint8Array};
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::whole;
use crate::errors::{Result, thrown};
use crate::promise;

/// A RAM block as it is asked for.
#[napi(object)]
pub struct NativeBlockSpec {
    pub name: String,
    pub guest_address: f64,
    pub bytes: f64,
}

/// A RAM block that exists.
#[napi(object)]
pub struct NativeBlock {
    pub name: String,
    /// Unique for the life of the virtual machine.
    pub generation: f64,
    pub guest_address: f64,
    pub bytes: f64,
}

/// How to make a virtual machine.
#[napi(object)]
pub struct NativeCreateOptions {
    pub blocks: Vec<NativeBlockSpec>,
    pub vcpus: f64,
    /// Default 'auto': the best that the kernel has.
    #[napi(ts_type = "'auto' | 'none' | 'enable' | 'initially-set'")]
    pub manual_protect: Option<String>,
    /// Dirty rings with this many entries for each vCPU, a power of two, in place of the bitmap.
    pub ring_entries: Option<f64>,
    /// When rings are harvested: 'run', the default, is all the time; 'hold', for tests, only when one is full and at a sync.
    #[napi(ts_type = "'run' | 'hold'")]
    pub reaper: Option<String>,
    /// Default 'auto': 'ignore' for a kernel, 'stop' for a built-in guest.
    #[napi(ts_type = "'auto' | 'stop' | 'ignore'")]
    pub unknown_mmio: Option<String>,
    /// Default 1 GiB.
    pub clear_chunk_bytes: Option<f64>,
    /// Default '/dev/kvm'.
    pub kvm_path: Option<String>,
}

/// What to boot.
#[napi(object)]
pub struct NativeKernelOptions {
    pub kernel: String,
    pub initrd: Option<String>,
    pub cmdline: Option<String>,
}

/// Why a virtual machine crashed.
#[napi(object)]
pub struct NativeCrash {
    pub vcpu: f64,
    pub reason: String,
    /// Hexadecimal; null where the kernel could not say.
    #[napi(ts_type = "string | null")]
    pub instruction_pointer: Option<String>,
}

/// A virtual machine. `client` is 'vga', 'code', 'migration', 'dirty-rate' or what `openAccumulator` returned. Every failure
/// is an Error with a `code`; after `close` it is ERR_CLOSED.
#[napi]
pub struct NativeVirtualMachine {
    machine: Mutex<Option<Arc<Machine>>>,
    vcpus: u32,
}

impl NativeVirtualMachine {
    /// The machine, unless it was closed.
    pub fn machine(&self) -> Result<Arc<Machine>> {
        self.peek().ok_or_else(|| thrown(Error::Closed))
    }

    fn peek(&self) -> Option<Arc<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` with the machine on a native thread.
    pub fn run<T>(
        &self,
        env: Env,
        work: impl FnOnce(&Machine) -> dirtyrate::Result<T> + Send + 'static,
    ) -> Result<Object<'static>>
    where
        T: napi::bindgen_prelude::ToNapiValue + Send + 'static,
    {
        let machine = self.peek();
        promise::run(env, move || work(&*machine.ok_or(Error::Closed)?))
    }
}

#[napi]
impl NativeVirtualMachine {
    /// Makes a virtual machine, which takes seconds for a terabyte. Rejects with ERR_KVM_*, ERR_ARGUMENT, ERR_MEMORY.
    #[napi(ts_return_type = "Promise<NativeVirtualMachine>")]
    pub fn create(env: Env, options: NativeCreateOptions, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let options = machine_options(&options)?;
        let cancel = token(cancel);
        promise::run(env, move || {
            let machine = Machine::new(&options, &cancel)?;
            Ok(Self { machine: Mutex::new(Some(Arc::new(machine))), vcpus: options.vcpus })
        })
    }

    /// Loads a kernel. Rejects with ERR_KERNEL_IMAGE, ERR_ARGUMENT, ERR_STATE, ERR_CANCELLED.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn load_kernel(
        &self,
        env: Env,
        options: NativeKernelOptions,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let cancel = token(cancel);
        let options = KernelOptions {
            kernel: PathBuf::from(options.kernel),
            initrd: options.initrd.map(PathBuf::from),
            cmdline: options.cmdline.unwrap_or_default(),
        };
        self.run(env, move |machine| machine.load_kernel(&options, &cancel))
    }

    /// Starts the vCPUs, and waits until a workload's are ready. Rejects with ERR_STATE, ERR_GUEST_CRASHED.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn start(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, Machine::start)
    }

    /// Stops the vCPUs; all that they wrote is in the log then.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn pause(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, Machine::pause)
    }

    /// Lets them run again.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn resume(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, Machine::resume)
    }

    /// Ends the vCPUs. Memory and bits stay readable.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn shutdown(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, |machine| {
            machine.shutdown();
            Ok(())
        })
    }

    /// Ends everything and frees it, and returns when it is freed. Calls that are under way reject. Idempotent.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close(&self, env: Env) -> Result<Object<'static>> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner).take();
        promise::run(env, move || {
            let Some(mut machine) = machine else { return Ok(()) };
            machine.shutdown();
            // Calls under way see the shutdown within milliseconds and let go.
            loop {
                match Arc::try_unwrap(machine) {
                    Ok(last) => {
                        drop(last);
                        return Ok(());
                    }
                    Err(shared) => machine = shared,
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    }

    /// What it is doing.
    #[napi(getter, ts_return_type = "'created' | 'running' | 'paused' | 'shutdown' | 'crashed' | 'closed'")]
    pub fn state(&self) -> &'static str {
        match self.peek().map(|machine| machine.state()) {
            None => "closed",
            Some(RunState::Created) => "created",
            Some(RunState::Running) => "running",
            Some(RunState::Paused) => "paused",
            Some(RunState::Shutdown) => "shutdown",
            Some(RunState::Crashed) => "crashed",
        }
    }

    /// Why it crashed.
    #[napi(getter)]
    pub fn crash(&self) -> Option<NativeCrash> {
        let crash = self.peek()?.crash()?;
        Some(NativeCrash {
            vcpu: crash.vcpu as f64,
            reason: crash.reason,
            instruction_pointer: crash.instruction_pointer.map(|at| format!("{at:#x}")),
        })
    }

    /// How many vCPUs it has.
    #[napi(getter)]
    pub fn vcpu_count(&self) -> u32 {
        self.vcpus
    }

    /// The manual protect that was negotiated.
    #[napi(ts_return_type = "'none' | 'enable' | 'initially-set'")]
    pub fn manual_protect(&self) -> Result<String> {
        Ok(manual_protect_name(self.machine()?.vm().manual_protect()))
    }

    /// The one exact source of dirty bits that it has.
    #[napi(getter, ts_return_type = "'bitmap' | 'ring'")]
    pub fn dirty_log(&self) -> Result<&'static str> {
        Ok(if self.machine()?.vm().ring_entries() > 0 { "ring" } else { "bitmap" })
    }

    /// Entries in each vCPU's dirty ring; 0 with a bitmap.
    #[napi(getter)]
    pub fn ring_entries(&self) -> Result<u32> {
        Ok(self.machine()?.vm().ring_entries())
    }

    /// The RAM blocks, by guest address.
    #[napi]
    pub fn blocks(&self) -> Result<Vec<NativeBlock>> {
        let machine = self.machine()?;
        let page_size = machine.vm().capabilities().page_size;
        Ok(machine.vm().blocks().iter().map(|block| native_block(block, page_size)).collect())
    }

    /// Adds a RAM block, also while the guest runs and is measured. Rejects with ERR_ARGUMENT, which names the block.
    #[napi(ts_return_type = "Promise<NativeBlock>")]
    pub fn add_block(&self, env: Env, block: NativeBlockSpec) -> Result<Object<'static>> {
        let spec = block_spec(&block)?;
        self.run(env, move |machine| {
            let block = machine.add_block(&spec)?;
            Ok(native_block(&block, machine.vm().capabilities().page_size))
        })
    }

    /// Removes a RAM block. Its bits live on until every client has taken them.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn remove_block(&self, env: Env, name: String) -> Result<Object<'static>> {
        self.run(env, move |machine| machine.vm().remove_block(&name))
    }

    /// Copies guest memory into `into`.
    #[napi]
    pub fn read_memory(&self, address: f64, mut into: Uint8Array) -> Result<()> {
        let address = whole("address", address)?;
        // SAFETY: the array is only written here, on the JavaScript thread, which runs nothing else meanwhile; the facade lets
        // no array over shared memory through.
        let into = unsafe { into.as_mut() };
        self.machine()?.vm().read_memory(address, into).map_err(thrown)
    }

    /// Writes guest memory, and marks the pages for every client that tracks.
    #[napi]
    pub fn write_memory(&self, address: f64, bytes: Uint8Array) -> Result<()> {
        self.machine()?.vm().write_memory(whole("address", address)?, &bytes).map_err(thrown)
    }

    /// The next output of the serial port; null when the virtual machine has ended and all was read.
    #[napi(ts_return_type = "Promise<string | null>")]
    pub fn read_console(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        // Only the console is kept: a reader that waits must not keep the machine.
        let console = self.peek().map(|machine| Arc::clone(machine.console()));
        promise::run(env, move || console.ok_or(Error::Closed)?.read(&cancel))
    }
}

impl Drop for NativeVirtualMachine {
    fn drop(&mut self) {
        // Collected, or its JavaScript environment is gone. Calls under way must not keep the guest running; and the end of a
        // large guest takes a while, which the JavaScript thread must not wait for.
        let Some(machine) = self.machine.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let end = move || machine.shutdown();
        // Without a thread to spare it ends when the closure is dropped, here.
        let _ = std::thread::Builder::new().name("dirtyrate-end".to_owned()).spawn(end);
    }
}

fn machine_options(options: &NativeCreateOptions) -> Result<MachineOptions> {
    let defaults = VmOptions::default();
    let refuse = |text: String| thrown(Error::Argument(text));
    let manual_protect = match options.manual_protect.as_deref() {
        None | Some("auto") => None,
        Some("none") => Some(ManualProtect::None),
        Some("enable") => Some(ManualProtect::Enable),
        Some("initially-set") => Some(ManualProtect::InitiallySet),
        Some(other) => {
            return Err(refuse(format!("no manual protect '{other}': use auto, none, enable or initially-set")));
        }
    };
    let reaping = match options.reaper.as_deref() {
        None | Some("run") => Reaping::Run,
        Some("hold") => Reaping::Hold,
        Some(other) => return Err(refuse(format!("no reaper '{other}': use run or hold"))),
    };
    let log = match options.ring_entries {
        None if options.reaper.is_some() => {
            return Err(refuse("a reaper is for dirty rings: give ringEntries too".to_owned()));
        }
        None => LogKind::Bitmap(manual_protect),
        Some(entries) => {
            let entries = whole("ringEntries", entries)?;
            let entries = u32::try_from(entries).map_err(|_| refuse(format!("{entries} ring entries are too many")))?;
            LogKind::Ring { entries, reaping }
        }
    };
    let unknown_mmio = match options.unknown_mmio.as_deref() {
        None | Some("auto") => UnknownMmio::Auto,
        Some("stop") => UnknownMmio::Stop,
        Some("ignore") => UnknownMmio::Ignore,
        Some(other) => return Err(refuse(format!("no policy '{other}' for unknown MMIO: use auto, stop or ignore"))),
    };
    let vcpus = whole("vcpus", options.vcpus)?;
    Ok(MachineOptions {
        blocks: options.blocks.iter().map(block_spec).collect::<Result<_>>()?,
        vcpus: u32::try_from(vcpus).map_err(|_| refuse(format!("{vcpus} vCPUs are more than any kernel takes")))?,
        unknown_mmio,
        vm: VmOptions {
            kvm_path: options.kvm_path.as_ref().map_or(defaults.kvm_path, PathBuf::from),
            log,
            clear_chunk_bytes: match options.clear_chunk_bytes {
                Some(bytes) => whole("clearChunkBytes", bytes)?,
                None => dirty_memory::DEFAULT_CLEAR_CHUNK_BYTES,
            },
        },
    })
}

fn block_spec(block: &NativeBlockSpec) -> Result<BlockSpec> {
    Ok(BlockSpec {
        name: block.name.clone(),
        guest_address: whole("guestAddress", block.guest_address)?,
        bytes: whole("bytes", block.bytes)?,
    })
}

fn native_block(block: &BlockInfo, page_size: u64) -> NativeBlock {
    NativeBlock {
        name: block.name.clone(),
        generation: block.id.0 as f64,
        guest_address: block.guest_address as f64,
        bytes: (block.pages * page_size) as f64,
    }
}

/// The name in the API.
pub fn manual_protect_name(protect: ManualProtect) -> String {
    protect.name().to_owned()
}
