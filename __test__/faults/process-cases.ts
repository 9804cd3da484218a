/** The faults of the calls that measure another process, each with each errno that it can have. */

import { constants } from 'node:os'
import type { Fault } from './cases.js'

/** In place of an errno: the call transfers half of what it was asked for. Also in shim.c. */
export const SHORT = -1

const {
  EACCES,
  EAGAIN,
  EBADF,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  EMFILE,
  ENFILE,
  ENOENT,
  ENOMEM,
  ENOSYS,
  ENOTTY,
  ENXIO,
  EPERM,
  ESRCH,
} = constants.errno

const OPEN = [EPERM, EACCES, EMFILE, ENFILE, ENOENT, ESRCH, ENOMEM, EINTR]

/** A name has two words if only calls on files of one kind fail: see shim.c. */
const calls: Readonly<Record<string, readonly number[]>> = {
  pidfd_open: [EPERM, EMFILE, ENFILE, ENOMEM, ESRCH, EINVAL, ENOSYS],
  'open fdinfo': [EACCES, EMFILE, ENOMEM, ENOENT],
  'open maps': OPEN,
  'open pagemap': OPEN,
  'open stat': OPEN,
  'open memory': OPEN,
  'read fdinfo': [EIO, EINTR, SHORT],
  'read maps': [EIO, ESRCH, ENOMEM, EINTR, SHORT],
  'pread pagemap': [EIO, ESRCH, ENOMEM, EINTR, SHORT],
  'pread stat': [EIO, ESRCH, EINTR, SHORT],
  'pread memory': [EIO, ENOMEM, EINTR, SHORT],
  'stat memory': [EIO, ENOENT, EACCES],
  'ioctl pagemap': [EPERM, EINTR, EIO, ENOMEM, EFAULT, EINVAL, ENOTTY],
  process_vm_readv: [EPERM, ESRCH, EFAULT, ENOMEM, EIO, EINTR, SHORT],
  pidfd_getfd: [EPERM, EMFILE, ESRCH, EBADF],
  fcntl: [EMFILE],
  mmap: [ENOMEM, EAGAIN],
  mincore: [ENOMEM, EAGAIN],
  lseek: [EIO, ENXIO],
  pthread_create: [EAGAIN],
}

/** The standard library repeats these calls for as long as a signal interrupts them. */
const isRepeated = (call: string): boolean => /^(open|read) /.test(call) || call === 'pread memory'

/** Which calls fail: one at the beginning, one later, or all from a certain one on. */
const WHEN = [
  { at: 1, times: 1 },
  { at: 2, times: 1 },
  { at: 9, times: 1 },
  { at: 1, times: 0 },
  { at: 5, times: 0 },
] as const

/** Every call with every errno, at each of these times. */
export function allProcessFaults(): Fault[] {
  return Object.entries(calls).flatMap(([call, errnos]) =>
    errnos.flatMap(errno =>
      WHEN.filter(({ times }) => times > 0 || errno !== EINTR || !isRepeated(call)).map(when => ({
        call,
        errno,
        ...when,
      })),
    ),
  )
}

/** Each call once, with what is likeliest to make a figure wrong, or an error misleading. */
export function fewProcessFaults(): Fault[] {
  const fault = (call: string, errno: number, at: number, times: number): Fault => ({
    call,
    errno,
    at,
    times,
  })
  return [
    fault('pidfd_open', EPERM, 1, 0),
    fault('pidfd_open', EMFILE, 1, 1),
    fault('open fdinfo', EMFILE, 1, 1),
    fault('open maps', EACCES, 1, 0),
    fault('open pagemap', EMFILE, 1, 0),
    fault('open stat', ENOMEM, 1, 1),
    fault('open memory', EMFILE, 1, 0),
    fault('read maps', EIO, 2, 1),
    fault('read maps', SHORT, 1, 0),
    fault('pread pagemap', EIO, 9, 1),
    fault('pread pagemap', EINTR, 5, 1),
    fault('pread stat', EIO, 2, 1),
    fault('pread stat', SHORT, 1, 0),
    fault('pread memory', SHORT, 999, 1),
    fault('pread memory', EIO, 999, 1),
    fault('pread memory', EINTR, 2, 1),
    fault('stat memory', EIO, 1, 0),
    fault('ioctl pagemap', EIO, 9, 1),
    fault('ioctl pagemap', EINTR, 1, 0),
    fault('ioctl pagemap', ENOTTY, 9, 0),
    fault('process_vm_readv', EPERM, 1, 0),
    fault('process_vm_readv', ESRCH, 5, 0),
    fault('process_vm_readv', SHORT, 9, 1),
    fault('pidfd_getfd', EPERM, 2, 1),
    fault('fcntl', EMFILE, 1, 1),
    fault('mincore', ENOMEM, 5, 0),
    fault('pthread_create', EAGAIN, 1, 0),
  ]
}
