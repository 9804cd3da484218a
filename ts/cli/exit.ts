/** Exit statuses of the command. */

import type { ErrorCode } from '../ground/errors.js'

export const EXIT_OK = 0
/** The measurement failed, or its result is incomplete. */
export const EXIT_FAILED = 1
/** The command line, or a file that it names, cannot be used. */
export const EXIT_USAGE = 2
/** The machine cannot do it. */
export const EXIT_ENVIRONMENT = 3
/** With `predict --exit-code`: the migration does not end. */
export const EXIT_STALLS = 10
/** With `predict --exit-code`: the curve does not tell whether the migration ends. */
export const EXIT_UNCERTAIN = 11

/** The statuses and their meanings, for the help and the manual. */
export const EXIT_MEANINGS: readonly (readonly [string, string])[] = [
  [String(EXIT_OK), 'done'],
  [String(EXIT_FAILED), 'measurement failed or incomplete'],
  [String(EXIT_USAGE), 'usage'],
  [String(EXIT_ENVIRONMENT), 'this machine cannot'],
  [
    `${EXIT_STALLS} or ${EXIT_UNCERTAIN}`,
    'predict --exit-code: the migration stalls, or is uncertain',
  ],
  ['129, 130 or 143', 'ended by SIGHUP, SIGINT or SIGTERM'],
]

const USAGE: readonly string[] = [
  'ERR_ARGUMENT',
  'ERR_KERNEL_IMAGE',
  'ERR_MODE_UNAVAILABLE',
  'ERR_QAPI',
  'ERR_UNSAFE_MODE',
  'ERR_LIBVIRT_SOCKET',
  'ERR_SOCKET',
] satisfies ErrorCode[]
const ENVIRONMENT: readonly string[] = [
  'ERR_KVM_ABSENT',
  'ERR_KVM_PERMISSION',
  'ERR_KVM_VERSION',
  'ERR_KVM_BUSY',
  'ERR_LIMIT',
  'ERR_NATIVE_LOAD',
  'ERR_MEMORY',
  'ERR_PROGRAM_ABSENT',
  'ERR_UNSUPPORTED',
  'ERR_TARGET_ABSENT',
  'ERR_TARGET_PERMISSION',
  'ERR_QMP_BUSY',
] satisfies ErrorCode[]

/** The status for an error's code. */
export function exitStatus(code: string): number {
  if (USAGE.includes(code)) return EXIT_USAGE
  return ENVIRONMENT.includes(code) ? EXIT_ENVIRONMENT : EXIT_FAILED
}
