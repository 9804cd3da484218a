/**
 * The faults of the calls that count the pages of another process by its soft-dirty bits, beside
 * those that sampling makes too.
 */

import { constants } from 'node:os'
import { callFault, type Fault } from './cases.js'
import { faultsOfEach, SHORT } from './process-cases.js'

const {
  EACCES,
  EAGAIN,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  EMFILE,
  ENFILE,
  ENOENT,
  ENOLCK,
  ENOMEM,
  ENOTTY,
  EPERM,
  ESRCH,
} = constants.errno

const OPEN = [EPERM, EACCES, EMFILE, ENFILE, ENOENT, ESRCH, ENOMEM]

/** A name has two words if only calls on files of one kind fail: see shim.c. */
const calls: Readonly<Record<string, readonly number[]>> = {
  'open clear_refs': OPEN,
  'pwrite clear_refs': [EPERM, EIO, EINTR, ENOMEM, ESRCH, EINVAL],
  flock: [EAGAIN, EINTR, ENOLCK, ENOMEM, EPERM],
  'open smaps': OPEN,
  'read smaps': [EIO, ESRCH, ENOMEM, EINTR, SHORT],
  'opendir fd': OPEN,
  readlink: [EACCES, ENOENT, ENOMEM, EIO],
  'open maps': OPEN,
  'read maps': [EIO, ESRCH, ENOMEM, SHORT],
  'open pagemap': OPEN,
  'pread pagemap': [EIO, ESRCH, ENOMEM, EINTR, SHORT],
  'pread stat': [EIO, ESRCH, EINTR, SHORT],
  'ioctl pagemap': [EPERM, EINTR, EIO, ENOMEM, EFAULT, EINVAL, ENOTTY],
  'open memory': [EACCES, EMFILE, ENOMEM],
  lseek: [EIO],
}

/** Every call with every errno, at several times. */
export const allSoftDirtyFaults = (): Fault[] => faultsOfEach(calls)

/** Each call, with what is likeliest to make a figure wrong, or an error misleading. */
export function fewSoftDirtyFaults(): Fault[] {
  return [
    callFault('open clear_refs', EACCES, 1, 0),
    callFault('open clear_refs', EMFILE, 1, 1),
    callFault('open clear_refs', ENOMEM, 2, 0),
    callFault('pwrite clear_refs', EIO, 1, 1),
    callFault('pwrite clear_refs', EPERM, 1, 0),
    callFault('pwrite clear_refs', ENOMEM, 2, 1),
    callFault('flock', EAGAIN, 1, 1),
    callFault('flock', ENOLCK, 1, 0),
    callFault('flock', EPERM, 1, 0),
    callFault('open smaps', EACCES, 1, 0),
    callFault('open smaps', EMFILE, 2, 1),
    callFault('read smaps', EIO, 2, 1),
    callFault('read smaps', EINTR, 1, 1),
    callFault('read smaps', SHORT, 1, 0),
    callFault('opendir fd', EACCES, 1, 0),
    callFault('opendir fd', EMFILE, 2, 1),
    callFault('readlink', EACCES, 1, 0),
    callFault('readlink', ENOENT, 1, 1),
    callFault('read maps', EIO, 2, 1),
    callFault('read maps', SHORT, 1, 0),
    callFault('pread pagemap', EIO, 9, 1),
    callFault('pread pagemap', EINTR, 5, 1),
    callFault('pread pagemap', SHORT, 9, 1),
    callFault('pread stat', EIO, 2, 1),
    callFault('ioctl pagemap', EIO, 1, 0),
    callFault('ioctl pagemap', EINVAL, 2, 0),
    callFault('ioctl pagemap', ENOTTY, 1, 0),
  ]
}
