/**
 * The one error class of the package, and the one table of its codes. A code is stable: test
 * `error.code`, not `instanceof`, which fails between the ESM and the CommonJS copy of this
 * package.
 */

/** Every code, with the hint that an error of this code has by default. */
const HINTS = {
  ERR_KVM_ABSENT:
    'Use a Linux machine, x86-64 or arm64, with virtualization switched on (in a VM: nested virtualization) and its kvm module loaded.',
  ERR_KVM_PERMISSION:
    'Run as root, or as a user who may read and write the device. dirtyrate doctor shows how.',
  ERR_KVM_VERSION:
    'The device must be the KVM of the running kernel, not one passed through an emulator.',
  ERR_KVM_BUSY:
    'End the other hypervisor (VirtualBox, VMware, another KVM module), or unload its kernel module, then try again.',
  ERR_KVM_IOCTL:
    'The kernel refused a call that it should know: the message names it. See the kernel log.',
  ERR_LIMIT:
    'Raise the limit that the message names, or use fewer vCPUs and virtual machines at a time.',
  ERR_VCPU_STUCK:
    'The host is overloaded, or a call of the kernel takes long: try again. If the vCPU has not stopped when close() rejects, the memory of its VM stays mapped until this process ends.',
  ERR_NATIVE_LOAD:
    'Install again without --omit=optional, or build the binding from a clone: npm run setup.',
  ERR_ARGUMENT: 'Correct the argument that the message names.',
  ERR_STATE: 'Check vm.state before the call.',
  ERR_MEASURING:
    "Wait for the measurement that owns the client, or use another client such as 'migration'.",
  ERR_MODE_UNAVAILABLE: "Use a mode that describe() lists for this VM, or 'auto'.",
  ERR_PAUSED: 'Call resume(), then measure: a paused guest writes nothing.',
  ERR_GUEST_CRASHED:
    'The VM cannot go on: close it. Its memory and what was logged can still be read.',
  ERR_CLOSED: 'Create a new VirtualMachine, because a closed one cannot be used again.',
  ERR_CANCELLED: 'Call again: a cancelled call leaves nothing behind.',
  ERR_KERNEL_IMAGE:
    'Give files that can be read and that fit the memory: a kernel is an ELF with a PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY) or a Linux bzImage, on arm64 an ELF or a Linux Image.',
  ERR_MEMORY:
    'Ask for less memory, or raise what limits it: ulimit -v, ulimit -d, vm.overcommit_memory.',
  ERR_PROGRAM_ABSENT:
    'Install the program that the message names. virsh is in the package libvirt-clients (Debian, Ubuntu) or libvirt-client (Fedora, openSUSE).',
  ERR_UNSUPPORTED: 'See capabilities() for what this kernel can do.',
  ERR_QAPI: "The text is QEMU's own; its documentation of calc-dirty-rate says what is accepted.",
  ERR_TARGET_ABSENT: 'Check the name: nothing that can be measured is there.',
  ERR_TARGET_PERMISSION: 'Run as the user of the virtual machine, or as root.',
  ERR_TARGET_GONE:
    'The virtual machine ended, or what reached it was closed. Open the target again if it is still there.',
  ERR_TARGET_TIMEOUT:
    'The virtual machine did not answer in time: it is stopped, or its host is overloaded. Try again.',
  ERR_QMP_BUSY:
    'A monitor serves one client at a time: end the other client, or give QEMU a second monitor (-qmp). A VM of libvirt is reached through libvirt.',
  ERR_QMP_PROTOCOL:
    'Give the socket of a QMP monitor: QEMU makes one with -qmp unix:PATH,server=on,wait=off.',
  ERR_MIGRATING:
    'Measure before the migration, or after it. In the API, describe() says how far it is.',
  ERR_UNSAFE_MODE:
    'Use page-sampling, which harms no VM. force=on in the target (--force of the command) measures all the same.',
  ERR_LIBVIRT_SOCKET: 'Reach the domain through libvirt.',
  ERR_SOCKET:
    'Give a path at which nothing is yet, in a folder of your own, such as /run/user/1000/vm.qmp.',
  ERR_PROMETHEUS:
    'Check the URL, and that Prometheus scrapes dirtyrate serve. The message says what it answered.',
  ERR_INTERNAL: 'This is a defect of dirtyrate: please report it with this message.',
} as const

/** The codes of {@link DirtyRateError}. */
export type ErrorCode = keyof typeof HINTS

/** All codes, in the order of the table in docs/troubleshooting.md. */
export const errorCodes: readonly ErrorCode[] = Object.keys(HINTS) as ErrorCode[]

/**
 * The facts of an error for programs. An error has those that apply: `call`, `errno` and `context`
 * of a refused call, the host's `limit`, `vcpu`, `block`, `path`, `bytes`.
 */
export type ErrorDetails = Readonly<Record<string, string | number>>

/**
 * A failure with a stable `code`, a message that says what happened, and a `hint` that says what to
 * do.
 *
 * @example
 * ```ts
 * import { openTarget } from 'dirtyrate'
 *
 * try {
 *   await openTarget('guest:strde')
 * } catch (error) {
 *   if (!(error instanceof Error && 'code' in error)) throw error
 *   if (error.code === 'ERR_ARGUMENT') console.log(error.message)
 * }
 * ```
 */
export class DirtyRateError extends Error {
  override readonly name: string = 'DirtyRateError'
  /** What happened, for programs. */
  readonly code: ErrorCode
  /** What to do about it, for people. */
  readonly hint: string
  /** The facts of the message, each under a name, for programs; empty if there are none. */
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
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
 * The code of `error`, if it is an error of any realm. In Jest, vitest's `vmThreads` and `node:vm`
 * a program has another class `Error` than the one of this error, so `instanceof` would not
 * recognise it.
 */
export function codeOf(error: unknown): string | undefined {
  const { code } = isError(error) ? (error as Error & { code?: unknown }) : {}
  return typeof code === 'string' ? code : undefined
}

/** Whether `value` is an error of any realm. */
export function isError(value: unknown): value is Error {
  // Errors of every realm have this tag, unless a class gives its errors another one.
  return Object.prototype.toString.call(value) === '[object Error]' || value instanceof Error
}

/** Whether `error` has this code, whichever copy of the package, or of the binding, made it. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return codeOf(error) === code
}

/** Whether `text` is one of the codes. */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(HINTS, text)
}

/**
 * Whether `error` is an error of this package, and has `code` if one is given. Unlike `instanceof`,
 * this recognises an error from another realm (Jest, `node:vm`) and from another copy of the
 * package.
 *
 * @example
 * ```ts
 * try {
 *   await vm.measureDirtyRate()
 * } catch (error) {
 *   if (isDirtyRateError(error, 'ERR_PAUSED')) await vm.resume()
 *   else throw error
 * }
 * ```
 */
export function isDirtyRateError<Code extends ErrorCode = ErrorCode>(
  error: unknown,
  code?: Code,
): error is DirtyRateError & { readonly code: Code } {
  const found = codeOf(error)
  return isErrorCode(found) && 'hint' in (error as Error) && (code === undefined || found === code)
}
