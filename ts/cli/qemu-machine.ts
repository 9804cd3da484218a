/** The QEMU machine in which built-in guests boot. */

import { type Block, QEMU_ARM64_RAM } from '../targets/vm/memory.js'

export interface QemuMachine {
  readonly program: string
  /** What chooses the machine. */
  readonly args: readonly string[]
  /** The layout of its memory. */
  readonly memory: number | Block[]
}

/** A QEMU machine with this much memory, with KVM and what follows it: `,dirty-ring-size=4096`. */
export function qemuMachine(memory: number, accelerator = ''): QemuMachine {
  const accel = ['-accel', `kvm${accelerator}`]
  if (process.arch !== 'arm64') {
    return {
      program: 'qemu-system-x86_64',
      args: [...accel, '-machine', 'q35,smm=off'],
      memory,
    }
  }
  return {
    program: 'qemu-system-aarch64',
    args: [...accel, '-machine', 'virt,gic-version=host', '-cpu', 'host'],
    memory: [{ name: 'ram', guestAddress: QEMU_ARM64_RAM, bytes: memory }],
  }
}
