/** The faults: each call of the kernel that the binding makes, with each errno that it can have. */

import { constants } from 'node:os'

/** A call that fails; `times` 0 is from the `at`th call on, for ever. */
export interface Fault {
  call: string
  /** The lowest byte of the ioctl's number. */
  number?: number
  errno: number
  at: number
  times: number
}

/** KVM's ioctls by the lowest byte of their numbers (linux/kvm.h). */
export const ioctls: Readonly<Record<string, number>> = {
  KVM_GET_API_VERSION: 0x00,
  KVM_CREATE_VM: 0x01,
  KVM_CHECK_EXTENSION: 0x03,
  KVM_GET_VCPU_MMAP_SIZE: 0x04,
  KVM_GET_SUPPORTED_CPUID: 0x05,
  KVM_CREATE_VCPU: 0x41,
  KVM_GET_DIRTY_LOG: 0x42,
  KVM_SET_USER_MEMORY_REGION: 0x46,
  KVM_SET_TSS_ADDR: 0x47,
  KVM_CREATE_IRQCHIP: 0x60,
  KVM_IRQFD: 0x76,
  KVM_CREATE_PIT2: 0x77,
  KVM_RUN: 0x80,
  KVM_GET_REGS: 0x81,
  KVM_SET_REGS: 0x82,
  KVM_GET_SREGS: 0x83,
  KVM_SET_SREGS: 0x84,
  KVM_SET_CPUID2: 0x90,
  KVM_GET_MP_STATE: 0x98,
  KVM_ENABLE_CAP: 0xa3,
  KVM_GET_ONE_REG: 0xab,
  KVM_SET_ONE_REG: 0xac,
  KVM_ARM_VCPU_INIT: 0xae,
  KVM_ARM_PREFERRED_TARGET: 0xaf,
  KVM_CLEAR_DIRTY_LOG: 0xc0,
  KVM_RESET_DIRTY_RINGS: 0xc7,
  KVM_CREATE_DEVICE: 0xe0,
  KVM_SET_DEVICE_ATTR: 0xe1,
}

const {
  EINTR,
  EAGAIN,
  ENOMEM,
  EINVAL,
  EFAULT,
  EBUSY,
  EPERM,
  EIO,
  EMFILE,
  ENFILE,
  ENOENT,
  ENXIO,
  EEXIST,
  ENOSYS,
} = constants.errno

/** What any ioctl can answer (Documentation/virt/kvm/api.rst), with what a sandbox does. */
const ANY = [EINTR, EAGAIN, ENOMEM, EINVAL, EFAULT, EPERM, EIO]
/** And what some can beside that. */
const MORE: Readonly<Record<string, number[]>> = {
  KVM_CREATE_VM: [EBUSY, EMFILE, ENFILE],
  KVM_CREATE_VCPU: [EMFILE, ENFILE, EEXIST],
  KVM_CREATE_DEVICE: [EMFILE, ENFILE],
  KVM_SET_USER_MEMORY_REGION: [EEXIST],
  KVM_GET_DIRTY_LOG: [ENOENT, ENXIO],
  KVM_CLEAR_DIRTY_LOG: [ENOENT, ENXIO],
  KVM_IRQFD: [EBUSY],
  KVM_CREATE_IRQCHIP: [EEXIST],
}

/** Calls of the C library. */
const functions: Readonly<Record<string, number[]>> = {
  open: [EMFILE, ENFILE, ENOMEM, EINTR, EPERM, ENOENT],
  fcntl: [EMFILE, EINVAL],
  mmap: [ENOMEM, EAGAIN, EPERM],
  eventfd: [EMFILE, ENFILE, ENOMEM],
  pthread_create: [EAGAIN, EPERM],
  pthread_kill: [EAGAIN, ENOSYS],
  timer_create: [EAGAIN, ENOMEM],
  timer_settime: [EINVAL],
  madvise: [EINVAL, EAGAIN, ENOMEM],
}

/** The first call, the second, a later one, once; and from the first, or the fifth, on. */
export const WHEN = [
  { at: 1, times: 1 },
  { at: 2, times: 1 },
  { at: 9, times: 1 },
  { at: 1, times: 0 },
  { at: 5, times: 0 },
] as const

/** Every call with every errno, at each of these times. */
export function allFaults(): Fault[] {
  const calls: { call: string; number?: number; errnos: readonly number[] }[] = [
    ...Object.entries(ioctls).map(([name, number]) => ({
      call: 'ioctl',
      number,
      errnos: [...ANY, ...(MORE[name] ?? [])],
    })),
    ...Object.entries(functions).map(([call, errnos]) => ({ call, errnos })),
  ]
  return calls.flatMap(({ call, number, errnos }) =>
    errnos.flatMap(errno =>
      WHEN.map(when => ({ call, ...(number === undefined ? {} : { number }), errno, ...when })),
    ),
  )
}

/** The fault of a call that is known by its name alone. */
export const callFault = (call: string, errno: number, at: number, times: number): Fault => ({
  call,
  errno,
  at,
  times,
})

/** One of each kind, chosen so that each went wrong once, or nearly did. */
export function fewFaults(): Fault[] {
  const ioctl = (name: string, errno: number, at: number, times: number): Fault => ({
    call: 'ioctl',
    number: ioctls[name] as number,
    errno,
    at,
    times,
  })
  return [
    ioctl('KVM_CREATE_VM', EINTR, 1, 1),
    ioctl('KVM_CREATE_VM', EINTR, 1, 0),
    ioctl('KVM_CREATE_VM', EBUSY, 1, 0),
    ioctl('KVM_CREATE_VCPU', EMFILE, 2, 0),
    ioctl('KVM_SET_USER_MEMORY_REGION', ENOMEM, 1, 0),
    ioctl('KVM_SET_USER_MEMORY_REGION', ENOMEM, 3, 1),
    ioctl('KVM_RUN', EAGAIN, 1, 0),
    ioctl('KVM_RUN', EAGAIN, 1, 5),
    ioctl('KVM_RUN', EFAULT, 9, 1),
    ioctl('KVM_GET_DIRTY_LOG', EINTR, 2, 1),
    ioctl('KVM_GET_DIRTY_LOG', EFAULT, 1, 0),
    ioctl('KVM_CLEAR_DIRTY_LOG', ENOMEM, 2, 1),
    ioctl('KVM_RESET_DIRTY_RINGS', EINVAL, 1, 0),
    callFault('mmap', ENOMEM, 1, 0),
    callFault('eventfd', EMFILE, 1, 0),
    callFault('fcntl', EMFILE, 2, 0),
    callFault('timer_create', EAGAIN, 1, 0),
    callFault('pthread_kill', EAGAIN, 1, 1),
    ...[1, 2, 3, 4, 5, 6, 7, 8].map(at => callFault('pthread_create', EAGAIN, at, 0)),
  ]
}
