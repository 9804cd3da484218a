/** The guest of a comparison in a VM of our own. */

import process from 'node:process'
import manifest from '../../../package.json' with { type: 'json' }
import { namesIn, readText } from '../../ground/proc.js'
import type { CreateOptions } from '../../targets/vm/create-options.js'
import type { VirtualMachineMeasurement } from '../../targets/vm/figures.js'
import type { Block } from '../../targets/vm/memory.js'
import { VirtualMachine } from '../../targets/vm/virtual-machine.js'
import type { Workload } from '../../targets/vm/workload.js'
import type { Measured, Peer, Tool } from './peer.js'

export const OWN_TOOL: Tool = { name: 'dirtyrate', version: manifest.version }

/** Where the guest runs, and how it is measured. */
export interface Machine {
  readonly memory: number | Block[]
  readonly vcpus: number
  readonly samplePages: number
  readonly signal: AbortSignal
}

/**
 * Starts the guest in a VM with this log. The guest is not loaded from the file that QEMU gets,
 * because the VM reads the guest's counters at both ends of a window only if it knows the guest.
 */
export async function startOwn(
  guest: Workload,
  machine: Machine,
  dirtyLog: CreateOptions['dirtyLog'],
): Promise<Peer> {
  const { memory, vcpus, samplePages, signal } = machine
  const before = new Set(threads())
  const vm = await VirtualMachine.create({ memory, vcpus, dirtyLog, signal })
  try {
    await vm.load(guest)
    await vm.start()
    return {
      tool: OWN_TOOL,
      pid: process.pid,
      // A thread gives itself its name, and some time after the VM has started.
      get vcpuThreads() {
        return threads().filter(thread => !before.has(thread) && isVcpu(thread))
      },
      mailbox: async address => {
        const bytes = new Uint8Array(16)
        await vm.readMemory(address, bytes)
        return bytes
      },
      measure: async (mode, windowMs) => {
        const sampling = mode === 'page-sampling' ? { samplePages } : {}
        return measuredOf(
          await vm.measureDirtyRate({ mode, window: windowMs, signal, ...sampling }),
        )
      },
      close: () => vm.close(),
    }
  } catch (error) {
    await vm.close()
    throw error
  }
}

function measuredOf(measurement: VirtualMachineMeasurement): Measured {
  const { bytesPerSecond, interval, pages, window, complete, blocks, truth } = measurement
  const windows = blocks.map(({ windowNs }) => windowNs)
  return {
    figure: { bytesPerSecond, interval, pages, windowNs: window.ns, complete },
    // The rate is the sum over blocks, and each of them has its own window.
    lasted: { low: Math.min(...windows), high: Math.max(...windows) },
    ...(truth === undefined ? {} : { counted: truth }),
    within: [],
  }
}

function threads(): number[] {
  return namesIn('/proc/self/task').map(Number)
}

/** Whether a thread of this process runs a vCPU, by the name that the core gives it. */
function isVcpu(thread: number): boolean {
  return /^vcpu\d+$/.test(readText(`/proc/self/task/${thread}/comm`)?.trim() ?? '')
}
