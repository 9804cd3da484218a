/** The guest of a comparison in a VM of our own. */

import process from 'node:process'
import manifest from '../../../package.json' with { type: 'json' }
import { namesIn, readText } from '../../ground/proc.js'
import type { Mode } from '../../results/mode.js'
import type { CreateOptions } from '../../targets/vm/create-options.js'
import type { Block } from '../../targets/vm/memory.js'
import { VirtualMachine } from '../../targets/vm/virtual-machine.js'
import type { Figure, Peer, Tool } from './peer.js'

export const OWN_TOOL: Tool = { name: 'dirtyrate', version: manifest.version }

/** What runs, and where. */
export interface Machine {
  /** The guest as a file. */
  readonly kernel: string
  readonly memory: number | Block[]
  readonly vcpus: number
  readonly samplePages: number
  readonly signal: AbortSignal
}

/** Starts the guest in a VM with this log. */
export async function startOwn(
  machine: Machine,
  dirtyLog: CreateOptions['dirtyLog'],
): Promise<Peer> {
  const { kernel, memory, vcpus, samplePages, signal } = machine
  const before = new Set(threads())
  const vm = await VirtualMachine.create({ memory, vcpus, dirtyLog, signal })
  try {
    await vm.load({ kernel })
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
      measure: async (mode: Mode, windowMs): Promise<Figure> => {
        const sampling = mode === 'page-sampling' ? { samplePages } : {}
        const measured = await vm.measureDirtyRate({ mode, window: windowMs, signal, ...sampling })
        const { bytesPerSecond, interval, pages, window, complete } = measured
        return { bytesPerSecond, interval, pages, windowNs: window.ns, complete }
      },
      close: () => vm.close(),
    }
  } catch (error) {
    await vm.close()
    throw error
  }
}

function threads(): number[] {
  return namesIn('/proc/self/task').map(Number)
}

/** Whether a thread of this process runs a vCPU, by the name that the core gives it. */
function isVcpu(thread: number): boolean {
  return /^vcpu\d+$/.test(readText(`/proc/self/task/${thread}/comm`)?.trim() ?? '')
}
