/**
 * The one error class of the package, and the one table of its codes. A code is stable: test `error.code`, not `instanceof`, which
 * fails between the ESM and the CommonJS copy of this package.
 */

import { memoryHint } from './memory-limits.js'

/** Every code, with the hint that an error has unless it brings a better one. */
const HINTS = {
  ERR_KVM_ABSENT:
    'Use a Linux machine, x86-64 or arm64, with virtualization switched on (in a VM: nested virtualization) and its kvm module loaded.',
  ERR_KVM_PERMISSION:
    'Join the group that owns the device (sudo usermod -aG kvm "$USER", then log in again), or run as root.',
  ERR_KVM_VERSION: 'The device must be the KVM of the running kernel, not one passed through an emulator.',
  ERR_KVM_BUSY:
    'End the other hypervisor (VirtualBox, VMware, another KVM module), or unload its kernel module, then try again.',
  ERR_KVM_IOCTL: 'The kernel refused a call that it should know: the message names it. See the kernel log.',
  ERR_LIMIT: 'Raise the limit that the message names, or use fewer vCPUs and virtual machines at a time.',
  ERR_VCPU_STUCK:
    'The host is overloaded, or a call of the kernel takes long: try again. If the vCPU has not stopped when close() rejects, the memory of its VM stays mapped until this process ends.',
  ERR_NATIVE_LOAD: 'Install again without --omit=optional, or build the binding from a clone: npm run setup.',
  ERR_ARGUMENT: 'Correct the argument that the message names.',
  ERR_STATE: 'Check vm.state before the call.',
  ERR_MEASURING: "Wait for the measurement that owns the client, or use another client such as 'migration'.",
  ERR_MODE_UNAVAILABLE: "Use a mode that describe() lists for this VM, or 'auto'.",
  ERR_PAUSED: 'Call resume(), then measure: a paused guest writes nothing.',
  ERR_GUEST_CRASHED: 'The VM cannot go on: close it. Its memory and what was logged can still be read.',
  ERR_CLOSED: 'Create a new VirtualMachine: a closed one has given everything back.',
  ERR_CANCELLED: 'Call again: a cancelled call leaves nothing behind.',
  ERR_KERNEL_IMAGE:
    'Give files that can be read and that fit the memory: a kernel is an ELF with a PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY) or a Linux bzImage, on arm64 an ELF or a Linux Image.',
  ERR_MEMORY: 'Ask for less memory, or raise what limits it: ulimit -v, ulimit -d, vm.overcommit_memory.',
  ERR_UNSUPPORTED: 'See capabilities() for what this kernel can do.',
  ERR_QAPI: "The text is QEMU's own; its documentation of calc-dirty-rate says what is accepted.",
  ERR_INTERNAL: 'This is a defect of dirtyrate: please report it with this message.',
} as const

/** What to do about each limit of the host: `details.limit`. */
const LIMIT_HINTS: Readonly<Record<string, string>> = {
  'open-files': 'Raise the limit (ulimit -n): a VM takes two open files for each vCPU, and a few more.',
  'system-open-files':
    'Close files of other programs, or raise the limit of the system (sysctl fs.file-max).',
  tasks:
    "Raise the limit of threads: ulimit -u, or pids.max of the control group (a container's --pids-limit, systemd's TasksMax).",
  'pending-signals':
    'Raise the limit of pending signals (ulimit -i), which all processes of this user share.',
  'locked-memory': 'Raise the limit of locked memory (ulimit -l).',
  policy:
    'A sandbox forbids the call: allow it in its seccomp profile or security module, or run outside of it.',
}

/** The hint for a device that a policy keeps from this process (EPERM), and not its file permissions (EACCES). */
const DEVICE_FORBIDDEN =
  'A container must be given the device (--device /dev/kvm); else a security module forbids it: root does not help.'
const EPERM = 1

/** The codes of {@link DirtyRateError}. */
export type DirtyRateErrorCode = keyof typeof HINTS

/** All codes, in the order of the README's table. */
export const errorCodes: readonly DirtyRateErrorCode[] = Object.keys(HINTS) as DirtyRateErrorCode[]

/**
 * What an error says to programs, as far as it has these facts: `call`, `errno` and `context` of a refused call, the host's `limit`,
 * `vcpu`, `block`, `path`, `bytes`.
 */
export type ErrorDetails = Readonly<Record<string, string | number>>

/** A failure with a stable `code`, a message that says what happened, and a `hint` that says what to do. */
export class DirtyRateError extends Error {
  override readonly name: string = 'DirtyRateError'
  /** What happened, for programs. */
  readonly code: DirtyRateErrorCode
  /** What to do about it, for people. */
  readonly hint: string
  /** The facts of the message under names, for programs; empty where there are none. */
  readonly details: ErrorDetails

  constructor(
    code: DirtyRateErrorCode,
    message: string,
    options: { hint?: string; cause?: unknown; details?: ErrorDetails } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint ?? HINTS[code]
    this.details = options.details ?? {}
  }
}

/** An argument that cannot be used, and what to give instead. */
export function argumentError(message: string, hint?: string): DirtyRateError {
  return new DirtyRateError('ERR_ARGUMENT', message, hint === undefined ? {} : { hint })
}

/**
 * The code of `error`, if it is an error of any realm: Jest, vitest's `vmThreads` and `node:vm` give a program an `Error` that is not the
 * one that made this error, so `instanceof` would not know it.
 */
function codeOf(error: unknown): string | undefined {
  const { code } = isError(error) ? (error as Error & { code?: unknown }) : {}
  return typeof code === 'string' ? code : undefined
}

/** Whether `value` is an error of any realm. */
export function isError(value: unknown): value is Error {
  // The tag is that of errors of every realm, unless a class gives its errors another one.
  return Object.prototype.toString.call(value) === '[object Error]' || value instanceof Error
}

/** Whether `error` has this code, whichever copy of the package made it. */
export function hasCode(error: unknown, code: DirtyRateErrorCode): boolean {
  return codeOf(error) === code
}

/** napi-rs's own codes for an argument of the wrong type: 'InvalidArg', 'StringExpected', … */
const NAPI_ARGUMENT = /^(InvalidArg|[A-Z][A-Za-z]*Expected)$/

/** A native failure as a DirtyRateError with the hint of its code; anything else unchanged. */
export function fromNative(error: unknown): unknown {
  const code = codeOf(error)
  // An error that has a hint is a DirtyRateError already: this copy's, or that of another.
  if (code === undefined || 'hint' in (error as Error)) return error
  const { message } = error as Error
  if (Object.hasOwn(HINTS, code)) {
    const details = detailsOf(error as Error)
    const hint = hintFor(code, details)
    return new DirtyRateError(code as DirtyRateErrorCode, message, {
      cause: error,
      details,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  return NAPI_ARGUMENT.test(code) ? new DirtyRateError('ERR_ARGUMENT', message, { cause: error }) : error
}

/** A better hint than the code's own, if the details say what is in the way. */
function hintFor(code: string, { limit, errno }: ErrorDetails): string | undefined {
  if (code === 'ERR_MEMORY') return memoryHint()
  if (typeof limit === 'string' && Object.hasOwn(LIMIT_HINTS, limit)) return LIMIT_HINTS[limit]
  return code === 'ERR_KVM_PERMISSION' && errno === EPERM ? DEVICE_FORBIDDEN : undefined
}

/** The details that the binding gives: JSON in the message of the native error's own cause. */
function detailsOf({ cause }: Error): ErrorDetails {
  return isError(cause) ? (JSON.parse(cause.message) as ErrorDetails) : {}
}
