// A Linux of Debian's for a guest of QEMU's, whose init is a C program that is compiled for it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cpio } from '../rig/cpio.mjs'
import { filesIn, output, Suite } from '../rig/debian.mjs'

const SUITE = 'bookworm'
/** A kernel for virtual machines, without most drivers. A rig has the same one. */
const PACKAGE = 'linux-image-cloud-amd64'

/** Writes an initrd for Linux to `path`, whose init is the C program `source`. Returns the kernel. */
export function linuxWithInit(source, definitions, path) {
  const [kernel] = filesIn(new Suite(SUITE, 'amd64').unpacked(PACKAGE), /(^|\/)vmlinuz(-[^/]+)?$/)
  if (kernel === undefined) throw new Error(`${PACKAGE} of ${SUITE} has no vmlinuz`)
  const scratch = mkdtempSync(join(tmpdir(), 'dirtyrate-init-'))
  try {
    const init = join(scratch, 'init')
    output('gcc', ['-O1', '-static', ...definitions, '-o', init, source])
    const initrd = new Cpio()
    initrd.device('dev/console', 5, 1)
    initrd.program('init', readFileSync(init))
    writeFileSync(path, initrd.archive())
    return kernel
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
