/** `dirtyrate guest`: a built-in guest as a file, which boots here and in QEMU. */

import { fstatSync, statSync } from 'node:fs'
import { parseCountText } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { formatRate, formatSize, parseRate, parseSize } from '../ground/units.js'
import {
  buildGuest,
  defaultPages,
  makeWorkload,
  type Workload,
  type WorkloadKind,
} from '../targets/vm/workload.js'
import { EXIT_OK } from './exit.js'
import { qemuMachine } from './qemu-machine.js'
import type { Session } from './session.js'
import { shellWord, size, visible } from './text.js'
import { writeNamedFile } from './whole-file.js'

/** The options that `guest` and `demo` have in common. */
export interface GuestOptions {
  workload: string
  pages?: string
  memory: string
  vcpus: string
  rate?: string
  sharing?: string
  placement?: string
  seed?: string
}

export async function runGuest(
  session: Session,
  options: GuestOptions & { output: string },
): Promise<number> {
  // For other programs `-` means standard output. Here it would be a file with that name, which
  // nobody wants.
  if (options.output === '' || options.output === '-') {
    throw argumentError(
      `-o: '${options.output}' is no file's name`,
      'Give a file, such as guest.elf or ./-.',
    )
  }
  if (isStandardOutput(options.output)) {
    throw argumentError(
      `-o: '${options.output}' is the standard output, where this command prints its result`,
      'Give another file, such as guest.elf.',
    )
  }
  const vcpus = parseCountText(options.vcpus, '--vcpus', 1)
  const guest = guestOf(options)
  const memory = parseSize(options.memory, '--memory')
  const machine = qemuMachine(memory)
  const image = buildGuest(guest, { memory: machine.memory, vcpus })
  await writeNamedFile('-o', options.output, image)
  session.print(
    `${visible(options.output)}: ${size(image.byteLength)}, ${guest.kind} for ${options.memory} and ${vcpus} vCPU${vcpus === 1 ? '' : 's'}${paceText(guest)}`,
  )
  if (!session.options.quiet) {
    // One line, so that it can be copied.
    session.print(
      `Boot it with: ${[machine.program, ...machine.args].join(' ')} -m ${formatSize(memory).replace('iB', '')} -smp ${vcpus} -nographic -kernel ${shellWord(options.output)}`,
    )
  }
  session.document({
    file: options.output,
    bytes: image.byteLength,
    guest: {
      workload: guest.kind,
      pages: guest.pages,
      memoryBytes: memory,
      vcpus,
      ...(guest.bytesPerSecond === undefined ? {} : { bytesPerSecond: guest.bytesPerSecond }),
      sharing: guest.sharing,
      placement: guest.placement,
      ...(guest.seed === undefined ? {} : { seed: guest.seed }),
    },
  })
  return EXIT_OK
}

/**
 * Whether `file` and the standard output are the same file or pipe, so that both would be mixed or
 * lost.
 */
function isStandardOutput(file: string): boolean {
  try {
    const [given, output] = [statSync(file), fstatSync(1)]
    return (
      (given.isFile() || given.isFIFO()) && given.dev === output.dev && given.ino === output.ino
    )
  } catch {
    // There is no such file, or no standard output.
    return false
  }
}

/** How a guest in a file keeps its rate, if it has one. */
function paceText({ bytesPerSecond }: Workload): string {
  return bytesPerSecond === undefined ? '' : `, ${formatRate(bytesPerSecond)} by its own clock`
}

/** The workload that the options describe. Throws ERR_ARGUMENT. */
export function guestOf(options: GuestOptions): Workload {
  const kind = options.workload as WorkloadKind
  const { rate, sharing, placement, seed } = options
  return makeWorkload(kind, {
    pages: pagesOf(options, kind),
    rate: rate === undefined ? undefined : parseRate(rate, '--rate'),
    sharing: sharing as Workload['sharing'] | undefined,
    placement: placement as Workload['placement'] | undefined,
    seed: seed === undefined ? undefined : parseCountText(seed, '--seed', 0, 2 ** 32 - 1),
  })
}

function pagesOf({ pages }: GuestOptions, kind: WorkloadKind): number {
  if (pages !== undefined) return parseCountText(pages, '--pages', kind === 'idle' ? 0 : 1)
  return kind === 'idle' ? 0 : defaultPages()
}
