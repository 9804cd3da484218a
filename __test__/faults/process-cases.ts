/** The faults of the calls that measure another process, each with each errno that it can have. */

import { constants } from 'node:os'
import { callFault, type Fault, WHEN } from './cases.js'

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

/** Every call with every errno, at each of these times. */
export const allProcessFaults = (): Fault[] => faultsOfEach(calls)

/** Each of these calls with each of its errnos, at each of the times. */
export function faultsOfEach(calls: Readonly<Record<string, readonly number[]>>): Fault[] {
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
  return [
    callFault('pidfd_open', EPERM, 1, 0),
    callFault('pidfd_open', EMFILE, 1, 1),
    callFault('open fdinfo', EMFILE, 1, 1),
    callFault('open maps', EACCES, 1, 0),
    callFault('open pagemap', EMFILE, 1, 0),
    callFault('open stat', ENOMEM, 1, 1),
    callFault('open memory', EMFILE, 1, 0),
    callFault('read maps', EIO, 2, 1),
    callFault('read maps', SHORT, 1, 0),
    callFault('pread pagemap', EIO, 9, 1),
    callFault('pread pagemap', EINTR, 5, 1),
    callFault('pread stat', EIO, 2, 1),
    callFault('pread stat', SHORT, 1, 0),
    callFault('pread memory', SHORT, 999, 1),
    callFault('pread memory', EIO, 999, 1),
    callFault('pread memory', EINTR, 2, 1),
    callFault('stat memory', EIO, 1, 0),
    callFault('ioctl pagemap', EIO, 9, 1),
    callFault('ioctl pagemap', EINTR, 1, 0),
    callFault('ioctl pagemap', ENOTTY, 9, 0),
    callFault('process_vm_readv', EPERM, 1, 0),
    callFault('process_vm_readv', ESRCH, 5, 0),
    callFault('process_vm_readv', SHORT, 9, 1),
    callFault('pidfd_getfd', EPERM, 2, 1),
    callFault('fcntl', EMFILE, 1, 1),
    callFault('mincore', ENOMEM, 5, 0),
    callFault('pthread_create', EAGAIN, 1, 0),
  ]
}
