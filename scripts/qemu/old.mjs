// QEMU 7.2 beside the installed QEMU, where apt has it, as on Debian 12. It is unpacked below
// target/, and nothing is installed.
//
//   node scripts/qemu/old.mjs     unpacks it, and prints its path

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'

const folder = join(root, 'target/qemu-7.2')
/** The program, its firmware with the loader of PVH kernels, and its BIOS. */
const PACKAGES = ['qemu-system-x86=1:7.2*', 'qemu-system-data=1:7.2*', 'seabios']
/** How long apt may take for one package, in ms. */
const DOWNLOAD_MS = 120_000

/**
 * QEMU 7.2: its program, and the arguments by which it finds its firmware. Undefined where apt does
 * not have it.
 */
export function oldQemu() {
  if (!existsSync(folder) && !unpack()) return undefined
  const share = join(folder, 'usr/share')
  return {
    program: join(folder, 'usr/bin/qemu-system-x86_64'),
    args: ['-L', join(share, 'qemu'), '-L', join(share, 'seabios')],
  }
}

function unpack() {
  mkdirSync(join(root, 'target'), { recursive: true })
  const scratch = mkdtempSync(`${folder}-`)
  try {
    const run = (program, ...args) =>
      execFileSync(program, args, { cwd: scratch, stdio: 'pipe', timeout: DOWNLOAD_MS })
    for (const name of PACKAGES) run('apt-get', 'download', '-q', name)
    for (const file of readdirSync(scratch).filter(name => name.endsWith('.deb')))
      run('dpkg', '-x', file, join(scratch, 'root'))
    renameSync(join(scratch, 'root'), folder)
    return true
  } catch {
    return false
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

if (isMain(import.meta.url)) {
  const { program } = oldQemu() ?? {}
  console.log(program ?? 'apt has no QEMU 7.2 here')
  if (program === undefined) process.exitCode = 1
}
