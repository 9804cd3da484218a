/** Versions of QEMU. */

import type { QemuVersion } from '../../qmp/greeting.js'

/** The version as people write it. */
export function versionText({ major, minor, micro }: QemuVersion): string {
  return `${major}.${minor}.${micro}`
}

/** Whether the version is at least `major.minor`. */
export function isAtLeast(version: QemuVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor)
}
