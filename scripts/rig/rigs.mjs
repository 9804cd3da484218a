// The rigs, one entry each. A rig is a kernel other than this machine's, in a machine that QEMU
// emulates and that has what KVM needs.

/** What every kernel is told: to end at a panic, and to leave the console to the tests. */
const QUIET = 'panic=-1 quiet loglevel=1'

const X86_64 = {
  /** As Debian calls it, and as Node and Rust do. */
  architecture: 'amd64',
  node: 'x64',
  target: 'x86_64-unknown-linux-gnu',
  strip: 'strip',
  qemu: 'qemu-system-x86_64',
  // With a thread for each CPU the rig's kernel overruns its stack now and then
  // (`corrupted stack end`), and with more than one CPU a Linux in a VM of the rig's stands in most
  // of its boots: QEMU's emulation of SVM, 10.0 and 11.1.
  threads: 'single',
  cpus: 1,
  machine: ['-machine', 'q35', '-cpu', 'max'],
  cmdline: `console=ttyS0 mitigations=off nokaslr ${QUIET}`,
  /** Loaded in the rig, with what they depend on; each with its parameters. */
  modules: ['kvm-amd npt=1'],
  /** Whether the kernel has soft-dirty bits. */
  softDirty: true,
}

const ARM64 = {
  architecture: 'arm64',
  node: 'arm64',
  target: 'aarch64-unknown-linux-gnu',
  qemu: 'qemu-system-aarch64',
  threads: 'multi',
  cpus: 2,
  // KVM is built in, and wants EL2. The architecture's own pointer authentication takes most of the
  // time of an emulated CPU.
  machine: ['-machine', 'virt,virtualization=on,gic-version=3', '-cpu', 'max,pauth-impdef=on'],
  cmdline: `console=ttyAMA0 mitigations=off nokaslr ${QUIET}`,
  modules: [],
  softDirty: false,
}

const SHORT = [
  ...[
    'nested_paging',
    'windows',
    'out_of_memory',
    'migration_beside',
    'blocks_come_and_go',
    'sparse_giant',
    'soft_dirty',
    'soft_dirty_guest',
  ],
  ...['ground/native.test', 'measurement/events.test'],
]

const SHORT_ARM64 = [
  ...['dirtyrate', 'windows', 'backup_bitmap', 'ring_signals', 'foreign_vmm', 'blocks_come_and_go'],
  ...['ground/native.test', 'rig/installed.rig'],
]

/**
 * Of Linux's, for a kernel that is built: what KVM, the serial ports of QEMU and of our VMs, the
 * initrd, Node and the tests need.
 */
const OPTIONS = [
  ...['64BIT', 'SMP', 'EXPERT', 'VIRTUALIZATION', 'KVM', 'CC_OPTIMIZE_FOR_PERFORMANCE'],
  ...[
    'PRINTK',
    'BUG',
    'KALLSYMS',
    'MULTIUSER',
    'COREDUMP',
    'ELF_CORE',
    'HIGH_RES_TIMERS',
    'NO_HZ_IDLE',
  ],
  ...[
    'BLK_DEV_INITRD',
    'BINFMT_ELF',
    'BINFMT_SCRIPT',
    'TMPFS',
    'SHMEM',
    'SYSFS',
    'DEVTMPFS',
    'DEVMEM',
  ],
  ...['PROC_FS', 'PROC_SYSCTL', 'PROC_PAGE_MONITOR', 'TTY', 'UNIX98_PTYS'],
  ...[
    'SERIAL_AMBA_PL011',
    'SERIAL_AMBA_PL011_CONSOLE',
    'SERIAL_8250',
    'SERIAL_8250_CONSOLE',
    'SERIAL_OF_PLATFORM',
  ],
  ...[
    'FUTEX',
    'EPOLL',
    'SIGNALFD',
    'TIMERFD',
    'EVENTFD',
    'AIO',
    'IO_URING',
    'POSIX_TIMERS',
    'RSEQ',
  ],
  ...[
    'ADVISE_SYSCALLS',
    'MEMBARRIER',
    'MEMFD_CREATE',
    'TRANSPARENT_HUGEPAGE',
    'CROSS_MEMORY_ATTACH',
  ],
  ...['NET', 'UNIX', 'INET', 'INOTIFY_USER', 'FILE_LOCKING'],
]

/**
 * short: the tests of `--short`, which CI runs: those whose answer depends on the kernel most, in
 * minutes. kernel: the suite and the package that Debian has it in. memoryMiB: of the machine,
 * which holds what runs inside twice for a moment.
 */
export const rigs = {
  svm: {
    ...X86_64,
    about: "Debian 12's kernel: SVM, nested paging",
    kernel: { suite: 'bookworm', package: 'linux-image-cloud-amd64' },
    memoryMiB: 3072,
    short: SHORT,
  },
  'svm-new': {
    ...X86_64,
    about: "the newest kernel of Debian 13's backports: SVM, nested paging",
    kernel: { suite: 'trixie-backports', package: 'linux-image-cloud-amd64' },
    memoryMiB: 3072,
    short: SHORT,
  },
  arm64: {
    ...ARM64,
    about: "Debian 12's kernel for arm64: no dirty ring",
    kernel: { suite: 'bookworm', package: 'linux-image-cloud-arm64' },
    memoryMiB: 3072,
    short: SHORT_ARM64,
  },
  'arm64-new': {
    ...ARM64,
    about:
      "the newest kernel of Debian 13's backports for arm64: dirty rings, with a bitmap beside them",
    kernel: { suite: 'trixie-backports', package: 'linux-image-cloud-arm64' },
    memoryMiB: 3072,
    short: SHORT_ARM64,
  },
  'arm64-16k': {
    ...ARM64,
    about: "Debian 13's kernel for arm64 with pages of 16 KiB: dirty rings",
    kernel: { suite: 'trixie', package: 'linux-image-arm64-16k' },
    memoryMiB: 3072,
    short: SHORT_ARM64,
  },
  'arm64-64k': {
    ...ARM64,
    about: "built from Debian 13's Linux with pages of 64 KiB: dirty rings",
    kernel: {
      suite: 'trixie',
      source: 'linux-source-6.12',
      options: ['ARM64_64K_PAGES', ...OPTIONS],
    },
    memoryMiB: 6144,
    short: SHORT_ARM64,
  },
}
