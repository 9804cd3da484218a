//! `NativeVirtualMachine`: making one, its life, its memory. Its dirty memory is in `dirty_memory.rs`, its built-in
//! guest in `guest.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dirtyrate::BlockInfo;
use dirtyrate::kvm::ManualProtect;
use dirtyrate::{Error, dirty_memory, threads};
use dirtyrate_machine::MachineError;
use dirtyrate_machine::vcpu::RunState;
use dirtyrate_machine::vm::{BlockSpec, LogKind, VmOptions};
use dirtyrate_machine::{KernelOptions, Machine, MachineOptions};
use napi::Env;
use napi::bindgen_prelude::{Function, Object, ObjectFinalize, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{whole, word};
use crate::environment::{self, Holder};
use crate::errors::{Result, Thrown, internal, thrown};
use crate::promise;

/// The largest amount of memory that the garbage collector is told for a virtual machine. A guest may have touched all
/// of its memory, so a machine without references should be collected before JavaScript's own heap has grown. But for
/// an object that is as large as a whole heap may be, V8 collects everything at once, and not step by step.
const MOST_WEIGHT: u64 = 256 << 20;

/// How often `close` checks whether the calls under way have ended. It does so for ten seconds.
const LOOK: Duration = Duration::from_millis(1);
const MOST_LOOKS: u32 = 10_000;

/// A RAM block as a caller asks for it.
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
    /// Default: the best that the kernel has.
    #[napi(ts_type = "NativeManualProtect")]
    pub manual_protect: Option<String>,
    /// Dirty rings with this many entries for each vCPU, a power of two, in place of the bitmap.
    pub ring_entries: Option<f64>,
    /// When rings are harvested. With 'run', the default, they are harvested continuously. For tests, 'watermark' has
    /// them harvested only by the vCPUs whose rings have filled to a part, and 'hold' only when a ring is full and at a
    /// sync.
    #[napi(ts_type = "'run' | 'watermark' | 'hold'")]
    pub reaper: Option<String>,
    /// Default 'auto': 'ignore' for a kernel, 'stop' for a built-in guest.
    #[napi(ts_type = "'auto' | 'stop' | 'ignore'")]
    pub unknown_mmio: Option<String>,
    /// Default 1 GiB.
    pub clear_chunk_bytes: Option<f64>,
    /// Default '/dev/kvm'.
    pub kvm_path: Option<String>,
}

/// How the kernel protects pages again after its log was read.
#[napi(string_enum = "kebab-case")]
pub enum NativeManualProtect {
    None,
    Enable,
    InitiallySet,
}

impl TryFrom<ManualProtect> for NativeManualProtect {
    type Error = Thrown;

    fn try_from(protect: ManualProtect) -> Result<Self> {
        match protect {
            ManualProtect::None => Ok(Self::None),
            ManualProtect::Enable => Ok(Self::Enable),
            ManualProtect::InitiallySet => Ok(Self::InitiallySet),
            new => Err(internal(&format!("the binding has no name for the manual protect {new:?}"))),
        }
    }
}

/// The one exact source of dirty bits that a virtual machine has.
#[napi(string_enum = "lowercase")]
pub enum NativeDirtyLog {
    Bitmap,
    Ring,
}

/// What a virtual machine is doing.
#[napi(string_enum = "lowercase")]
pub enum NativeState {
    Created,
    Running,
    Paused,
    Shutdown,
    Crashed,
    Closed,
}

impl From<RunState> for NativeState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Created => Self::Created,
            RunState::Running => Self::Running,
            RunState::Paused => Self::Paused,
            RunState::Shutdown => Self::Shutdown,
            RunState::Crashed => Self::Crashed,
        }
    }
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
    /// Hexadecimal; null if the kernel could not say it.
    #[napi(ts_type = "string | null")]
    pub instruction_pointer: Option<String>,
}

/// A virtual machine. `client` is 'vga', 'code', 'migration', 'dirty-rate' or what `openAccumulator` returned. Every
/// failure is an Error with a `code`; after `close` it is ERR_CLOSED.
#[napi(custom_finalize)]
pub struct NativeVirtualMachine {
    holder: Arc<Holder>,
    vcpus: u32,
    /// How much memory the garbage collector was told.
    weight: AtomicI64,
}

impl NativeVirtualMachine {
    /// The machine, unless it was closed.
    pub fn machine(&self) -> Result<Arc<Machine>> {
        self.holder.machine().ok_or_else(|| thrown(MachineError::Closed.into()))
    }

    /// Tells the garbage collector that the machine takes no memory any more.
    fn weigh_nothing(&self, env: &Env) {
        let weight = self.weight.swap(0, Ordering::Relaxed);
        if weight > 0 {
            // This fails if the environment is ending, and then there is nothing to collect.
            let _ = env.adjust_external_memory(-weight);
        }
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
        let machine = self.holder.machine();
        promise::run(env, move || work(&*machine.ok_or(MachineError::Closed)?))
    }

    /// Does what [`run`](Self::run) does, for work that frees something, also if there can be no more threads.
    pub fn run_surely<T>(
        &self,
        env: Env,
        work: impl FnOnce(&Machine) -> dirtyrate::Result<T> + Send + 'static,
    ) -> Result<Object<'static>>
    where
        T: napi::bindgen_prelude::ToNapiValue + Send + 'static,
    {
        let machine = self.holder.machine();
        promise::run_surely(env, move || work(&*machine.ok_or(MachineError::Closed)?))
    }
}

#[napi]
impl NativeVirtualMachine {
    /// Makes a virtual machine, which takes seconds for a terabyte. Rejects with ERR_KVM_*, ERR_ARGUMENT, ERR_MEMORY.
    #[napi(ts_return_type = "Promise<NativeVirtualMachine>")]
    pub fn create(env: Env, options: NativeCreateOptions, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let options = machine_options(&options)?;
        let cancel = token(cancel);
        let holder = environment::holder(&env).map_err(|error| internal(&error.reason))?;
        let bytes = options.blocks.iter().fold(0, |sum: u64, block| sum.saturating_add(block.bytes));
        let weight = bytes.min(MOST_WEIGHT) as i64;
        let make = move || {
            holder.put(Machine::new(&options, &cancel)?)?;
            Ok(Self { holder, vcpus: options.vcpus, weight: AtomicI64::new(0) })
        };
        promise::run_then(env, make, move |env, made| {
            if env.adjust_external_memory(weight).is_ok() {
                made.weight.store(weight, Ordering::Relaxed);
            }
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

    /// Starts the vCPUs, and with a workload waits until they are ready. Rejects with ERR_STATE, ERR_GUEST_CRASHED,
    /// ERR_LIMIT, or ERR_CANCELLED; after a failure the virtual machine is shut down.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn start(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        self.run(env, move |machine| machine.start(&cancel))
    }

    /// Pauses the vCPUs. Then everything that they wrote is in the log.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn pause(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, Machine::pause)
    }

    /// Lets the vCPUs run again.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn resume(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, Machine::resume)
    }

    /// Ends the vCPUs. Memory and bits stay readable. Rejects with ERR_VCPU_STUCK.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn shutdown(&self, env: Env) -> Result<Object<'static>> {
        self.run_surely(env, Machine::shutdown)
    }

    /// Ends everything and frees it, and resolves when it is freed. Calls that are under way reject. Calling it again
    /// changes nothing. It works even if no thread can be started. Rejects with ERR_VCPU_STUCK, and with ERR_STATE if a
    /// call that is under way does not end.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close(&self, env: Env) -> Result<Object<'static>> {
        self.weigh_nothing(&env);
        let machine = self.holder.end();
        promise::run_surely(env, move || {
            let Some(mut machine) = machine else { return Ok(()) };
            let ended = machine.shutdown();
            // Calls under way see the shutdown within milliseconds, and release the machine.
            for _ in 0..MOST_LOOKS {
                match Arc::try_unwrap(machine) {
                    Ok(last) => {
                        drop(last);
                        return ended;
                    }
                    Err(shared) => machine = shared,
                }
                std::thread::sleep(LOOK);
            }
            ended?;
            Err(Error::State(
                "a call on the closed virtual machine does not end: its memory is freed after it".to_owned(),
            ))
        })
    }

    /// The state of the virtual machine.
    #[napi(getter)]
    pub fn state(&self) -> NativeState {
        self.holder.machine().map_or(NativeState::Closed, |machine| machine.state().into())
    }

    /// Calls `call` once the guest has ended, for any reason; soon if it has ended already. This does not keep the
    /// process alive. The machine keeps what `call` refers to.
    #[napi(ts_args_type = "call: () => void")]
    pub fn when_ended(&self, call: Function<'_, (), ()>) -> Result<()> {
        let call = call
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .max_queue_size::<1>()
            .build()
            .map_err(|error| internal(&error.reason))?;
        self.machine()?.vm().vcpus().map_err(thrown)?.when_ended(move || {
            // This fails if the environment has ended. Then nobody waits for the call.
            call.call((), ThreadsafeFunctionCallMode::NonBlocking);
        });
        Ok(())
    }

    /// Why the virtual machine crashed.
    #[napi(getter)]
    pub fn crash(&self) -> Option<NativeCrash> {
        let crash = self.holder.machine()?.crash()?;
        Some(NativeCrash {
            vcpu: crash.vcpu as f64,
            reason: crash.reason,
            instruction_pointer: crash.instruction_pointer.map(|at| format!("{at:#x}")),
        })
    }

    /// How many vCPUs the virtual machine has.
    #[napi(getter)]
    pub fn vcpu_count(&self) -> u32 {
        self.vcpus
    }

    /// The state of manual protect that was set.
    #[napi]
    pub fn manual_protect(&self) -> Result<NativeManualProtect> {
        self.machine()?.vm().manual_protect().try_into()
    }

    /// The dirty log that the virtual machine has.
    #[napi(getter)]
    pub fn dirty_log(&self) -> Result<NativeDirtyLog> {
        Ok(if self.machine()?.vm().ring_entries() > 0 { NativeDirtyLog::Ring } else { NativeDirtyLog::Bitmap })
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

    /// Removes a RAM block. Its bits are kept until every client has taken them.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn remove_block(&self, env: Env, name: String) -> Result<Object<'static>> {
        self.run(env, move |machine| machine.vm().remove_block(&name))
    }

    /// Copies `bytes` bytes of guest memory from `address` on. They are the first of `all` bytes, and all of these must
    /// be RAM.
    #[napi(ts_return_type = "Promise<Uint8Array>")]
    pub fn read_memory(&self, env: Env, address: f64, bytes: f64, all: f64) -> Result<Object<'static>> {
        let (address, bytes, all) = (whole("address", address)?, whole("bytes", bytes)?, whole("all", all)?);
        self.run(env, move |machine| {
            machine.vm().check_memory(address, all)?;
            let mut copy = Vec::new();
            copy.try_reserve_exact(bytes as usize)
                .map_err(|_| Error::OutOfMemory { what: "guest memory that is read", bytes: bytes as usize })?;
            copy.resize(bytes as usize, 0);
            machine.vm().read_memory(address, &mut copy)?;
            Ok(Uint8Array::new(copy))
        })
    }

    /// Writes guest memory from `address` on, and marks the pages for every client that tracks. `bytes` are the first
    /// of `all` bytes, and all of these must go to RAM. `bytes` is copied before this returns.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn write_memory(&self, env: Env, address: f64, bytes: Uint8Array, all: f64) -> Result<Object<'static>> {
        let (address, all, bytes) = (whole("address", address)?, whole("all", all)?, bytes.to_vec());
        self.run(env, move |machine| {
            machine.vm().check_memory(address, all)?;
            machine.vm().write_memory(address, &bytes)
        })
    }

    /// The next output of the serial port; null when the virtual machine has ended and everything was read.
    #[napi(ts_return_type = "Promise<string | null>")]
    pub fn read_console(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        // Only the console is kept, because a waiting reader must not keep the machine alive.
        let console = self.holder.machine().map(|machine| Arc::clone(machine.console()));
        promise::run(env, move || console.ok_or(MachineError::Closed)?.read(&cancel))
    }
}

impl ObjectFinalize for NativeVirtualMachine {
    fn finalize(self, env: Env) -> napi::Result<()> {
        self.weigh_nothing(&env);
        Ok(())
    }
}

impl Drop for NativeVirtualMachine {
    fn drop(&mut self) {
        // The object was collected, or its JavaScript environment is gone. Calls under way must not keep the guest
        // running. The end of a large guest takes a while, and the JavaScript thread must not wait for it.
        let Some(machine) = self.holder.end() else { return };
        let ends = EndsOnDrop(machine);
        // If no thread can be started, the machine ends here, when the closure is dropped.
        let _ = threads::spawn("dirtyrate-end", move || drop(ends));
    }
}

/// Ends the vCPUs when it is dropped, even if calls under way still use the machine.
struct EndsOnDrop(Arc<Machine>);

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        // No caller is left that could get a failure; the core has logged it.
        let _ = self.0.shutdown();
    }
}

fn machine_options(options: &NativeCreateOptions) -> Result<MachineOptions> {
    let defaults = VmOptions::default();
    let refuse = |text: String| thrown(Error::Argument(text));
    let (manual_protect, reaping) = (word(options.manual_protect.as_deref())?, word(options.reaper.as_deref())?);
    let log = match options.ring_entries {
        None if options.reaper.is_some() => {
            return Err(refuse("a reaper is for dirty rings: give ringEntries too".to_owned()));
        }
        None => LogKind::Bitmap(manual_protect),
        Some(entries) => {
            let entries = whole("ringEntries", entries)?;
            let entries = u32::try_from(entries).map_err(|_| refuse(format!("{entries} ring entries are too many")))?;
            LogKind::Ring { entries, reaping: reaping.unwrap_or_default() }
        }
    };
    let vcpus = whole("vcpus", options.vcpus)?;
    Ok(MachineOptions {
        blocks: options.blocks.iter().map(block_spec).collect::<Result<_>>()?,
        vcpus: u32::try_from(vcpus).map_err(|_| refuse(format!("{vcpus} vCPUs are more than any kernel takes")))?,
        unknown_mmio: word(options.unknown_mmio.as_deref())?.unwrap_or_default(),
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
        bytes: block.bytes(page_size) as f64,
    }
}
