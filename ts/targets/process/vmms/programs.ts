/** Which program is which VMM: the one table of it. */

/** The VMMs that are known. */
export type VmmId = 'qemu' | 'cloud-hypervisor' | 'firecracker' | 'crosvm' | 'dirtyrate'

/** What people call them. */
export const VMM_NAMES: Readonly<Record<VmmId, string>> = {
  qemu: 'QEMU',
  'cloud-hypervisor': 'Cloud Hypervisor',
  firecracker: 'Firecracker',
  crosvm: 'crosvm',
  dirtyrate: 'dirtyrate',
}

/** The file names of their programs. A VM of this package is in a program of any name. */
const PROGRAMS: Readonly<Record<Exclude<VmmId, 'dirtyrate'>, RegExp>> = {
  // Proxmox and old distributions call QEMU `kvm`.
  qemu: /^(qemu-system-.*|qemu-kvm|kvm)$/,
  'cloud-hypervisor': /^cloud-hypervisor/,
  firecracker: /^firecracker/,
  crosvm: /^crosvm/,
}

/** The VMM whose program has this file name; undefined if it is none of them. */
export function vmmOfProgram(name: string): VmmId | undefined {
  return (Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[]).find(id => PROGRAMS[id].test(name))
}

/** Whether a process has loaded the binding of this package, by a file that it has mapped. */
export function isOurBinding(mapped: string): boolean {
  return /\/dirtyrate(\.[^/]*)?\.node$/.test(mapped)
}
