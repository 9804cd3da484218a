// Checks by readelf a binary that will be published: its machine, its libc, and the oldest glibc
// that it runs on.

import { spawnSync } from 'node:child_process'

/** The glibc of RHEL 7, the oldest that Rust itself supports. */
export const GLIBC_FLOOR = '2.17'

function readelf(option, file) {
  const { status, stdout, error } = spawnSync('readelf', ['-W', option, file], { encoding: 'utf8' })
  if (status !== 0) throw error ?? new Error(`readelf ${option} ${file} ended with ${status}`)
  return stdout
}

/** Compares versions by their numbers. */
const compare = (a, b) => a.localeCompare(b, 'en', { numeric: true })

/**
 * Machine, libc ('glibc', 'musl' or 'none') and the newest symbol version of glibc that a library
 * asks for.
 */
export function describeBinary(file) {
  const needed = [...readelf('--dynamic', file).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(
    ([, name]) => name,
  )
  return {
    machine: /^\s*Machine:\s*(.*)$/m.exec(readelf('--file-header', file))?.[1] ?? 'unknown',
    libc: needed.includes('libc.so.6')
      ? 'glibc'
      : needed.some(name => name.includes('musl'))
        ? 'musl'
        : 'none',
    glibc: [...readelf('--version-info', file).matchAll(/\bGLIBC_([\d.]+)/g)]
      .map(([, version]) => version)
      .sort(compare)
      .at(-1),
  }
}

/**
 * The faults of a binary for its platform, one sentence each. Without a `floor` any glibc is
 * accepted.
 */
export function faultsOf(file, platform, floor) {
  const { machine, libc, glibc } = describeBinary(file)
  const faults = []
  if (!machine.includes(platform.machine))
    faults.push(`its machine is ${machine}, not ${platform.machine}`)
  if (libc !== platform.libc) faults.push(`its libc is ${libc}, not ${platform.libc}`)
  if (floor !== undefined && glibc !== undefined && compare(glibc, floor) > 0) {
    faults.push(`it asks for GLIBC_${glibc}; the floor is GLIBC_${floor}`)
  }
  return faults
}
