/** The version that a client is told: docs/decisions/qmp-version.md has the reasons. */

import { version } from '../../ground/version.js'

/** QEMU's `VersionInfo`: the QEMU whose commands and texts these are, and who serves them. */
export const VERSION: {
  readonly qemu: { readonly micro: number; readonly minor: number; readonly major: number }
  readonly package: string
} = { qemu: { micro: 0, minor: 0, major: 10 }, package: `dirtyrate ${version}` }
