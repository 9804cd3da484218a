/** Versions of QEMU. */

import type { QemuVersion } from '../../qmp/greeting.js'

/** The version of a QEMU that does not say it. It has none of what newer versions have. */
export const UNKNOWN_VERSION: QemuVersion = { major: 0, minor: 0, micro: 0, package: '' }

/** The version as people write it. */
export function versionText({ major, minor, micro }: QemuVersion): string {
  if (major === 0 && minor === 0 && micro === 0) return 'of an unknown version'
  return `${major}.${minor}.${micro}`
}

/** Whether the version is at least `major.minor`. */
export function isAtLeast(version: QemuVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor)
}
