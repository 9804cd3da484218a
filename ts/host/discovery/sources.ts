/** Where VMs are looked for, and what is found there. */

import type { NameChoice } from '../../ground/pattern.js'

/** The domains of a libvirt. */
export interface LibvirtSource extends NameChoice {
  readonly kind: 'libvirt'
  /** Its URI; that of the environment, or of the system, if it is absent. */
  readonly connect?: string | undefined
  /** More options of each target: `outside`, `monitor`. */
  readonly options: Readonly<Record<string, string>>
}

/** The monitors of QEMU at paths, apart from those that libvirt owns. */
export interface SocketSource {
  readonly kind: 'qmp'
  /** Patterns of paths, each with a slash at its beginning. */
  readonly sockets: readonly string[]
  readonly exclude?: readonly string[] | undefined
}

/** Processes, by what runs in them. */
export interface ProcessSource extends NameChoice {
  readonly kind: 'pid'
  /** The VMMs whose processes are meant, in the words of `dirtyrate list`. */
  readonly vmm?: readonly string[] | undefined
  /** Patterns of the file name of the program, also of one that is no known VMM. */
  readonly command?: readonly string[] | undefined
}

export type Source = LibvirtSource | SocketSource | ProcessSource

/** A VM that was found. */
export interface FoundVm {
  /** The target that reaches it. */
  readonly uri: string
  /**
   * What it is recognised by when it is looked for again. Another VM with the same target has
   * another key.
   */
  readonly key: string
  /** What two targets of one VM have in common: its process, as far as it is known. */
  readonly vm: string
  /** The name of the VM, if it has one. */
  readonly name?: string | undefined
}
