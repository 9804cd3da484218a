/** Failures of the native binding as errors of this package. */

import { codeOf, DirtyRateError, type ErrorDetails, isError, isErrorCode } from './errors.js'
import { deviceAccess, KVM_DEVICE } from './kvm-device.js'
import { memoryHint } from './memory-limits.js'

/** The hint for each limit of the host, by the name in `details.limit`. */
const LIMIT_HINTS: Readonly<Record<string, string>> = {
  'open-files':
    'Raise the limit (ulimit -n): a VM of your own takes two open files for each vCPU, a process that is measured one for each of its files, and both a few more.',
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

/**
 * The hint for a device to which a policy denies access (EPERM), and not its file permissions
 * (EACCES).
 */
const DEVICE_FORBIDDEN =
  'Give a container the device (--device /dev/kvm). Elsewhere a security module forbids the access, and root does not help.'
const EPERM = 1

/** napi-rs's own codes for an argument of the wrong type: 'InvalidArg', 'StringExpected', … */
const NAPI_ARGUMENT = /^(InvalidArg|[A-Z][A-Za-z]*Expected)$/

/**
 * Turns a native failure into a DirtyRateError with the hint of its code. Returns any other error
 * unchanged.
 */
export function fromNative(error: unknown): unknown {
  const code = codeOf(error)
  // An error with a hint is a DirtyRateError already, of this copy of the package or of another
  // one.
  if (code === undefined || 'hint' in (error as Error)) return error
  const { message } = error as Error
  if (isErrorCode(code)) {
    const details = detailsOf(error as Error)
    const hint = hintFor(code, details)
    return new DirtyRateError(code, message, {
      cause: error,
      details,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  return NAPI_ARGUMENT.test(code)
    ? new DirtyRateError('ERR_ARGUMENT', message, { cause: error })
    : error
}

/** The error of a call outside of the binding that a limit of the host has refused. */
export function limitError(
  limit: 'open-files' | 'system-open-files',
  what: string,
  cause: unknown,
): DirtyRateError {
  const [size, hint] = [LIMITS_OF_FILES[limit], LIMIT_HINTS[limit]]
  return new DirtyRateError('ERR_LIMIT', `${what}: ${size}`, {
    details: { limit },
    ...(hint === undefined ? {} : { hint }),
    cause,
  })
}

const LIMITS_OF_FILES = {
  'open-files': 'this process may have no more open files (ulimit -n)',
  'system-open-files': 'the system may have no more open files (fs.file-max)',
} as const

/** A better hint than the default of the code, if the details name the cause. */
function hintFor(
  code: string,
  { limit, errno, path = KVM_DEVICE }: ErrorDetails,
): string | undefined {
  if (code === 'ERR_MEMORY') return memoryHint()
  if (typeof limit === 'string' && Object.hasOwn(LIMIT_HINTS, limit)) return LIMIT_HINTS[limit]
  if (code !== 'ERR_KVM_PERMISSION') return undefined
  if (errno === EPERM) return DEVICE_FORBIDDEN
  return path === KVM_DEVICE ? deviceAccess()?.mend : undefined
}

/** The details from the binding, which are JSON in the message of the native error's cause. */
function detailsOf({ cause }: Error): ErrorDetails {
  return isError(cause) ? (JSON.parse(cause.message) as ErrorDetails) : {}
}
