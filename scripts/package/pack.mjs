// npm run package: every tarball that is published, in target/packages, checked.
//
//   node scripts/package/pack.mjs [--host]     --host: in target/packages-host, with this machine's binary only, as npm run setup
//                                         built it, against this machine's glibc

import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { faultsOf, GLIBC_FLOOR } from '../build/check-binary.mjs'
import { crossBuild } from '../build/cross-build.mjs'
import { giveUp } from '../build/prerequisites.mjs'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { setUp } from '../setup.mjs'
import {
  host,
  hostPackagesFolder,
  pack,
  packagesFolder,
  platforms,
  stageMain,
  stagePlatform,
} from './packages.mjs'
import { differencesFromGolden } from './packed-files.mjs'

const kB = bytes => `${Math.round(bytes / 1000)} kB`

function crossBuilt(platform) {
  try {
    return crossBuild(platform)
  } catch (error) {
    return giveUp(`${platform.file} was not built: ${error.message}.`, 1)
  }
}

/**
 * Builds and packs; returns what {@link pack} says of each, the platforms' first and in the order
 * of publishing.
 */
export function packAll({ hostOnly }) {
  setUp()
  const into = hostOnly ? hostPackagesFolder : packagesFolder
  rmSync(into, { recursive: true, force: true })
  const wanted = hostOnly ? [host] : platforms
  const packed = wanted.map(platform => {
    const binary = hostOnly ? join(root, 'native', platform.file) : crossBuilt(platform)
    const faults = faultsOf(binary, platform, hostOnly ? undefined : GLIBC_FLOOR)
    if (faults.length > 0) giveUp(`${platform.file} cannot be published: ${faults.join('; ')}.`, 1)
    return pack(stagePlatform(platform, binary, into), into)
  })
  return [...packed, pack(stageMain(into), into)]
}

if (isMain(import.meta.url)) {
  const { values } = commandLine(import.meta.url, { options: { host: { type: 'boolean' } } })
  const packed = packAll({ hostOnly: values.host === true })
  for (const { tarball, files, size, unpackedSize } of packed) {
    process.stdout.write(
      `${basename(tarball)}: ${files.length} files, ${kB(size)}, unpacked ${kB(unpackedSize)}\n`,
    )
  }
  const differences = packed.flatMap(differencesFromGolden)
  if (differences.length > 0)
    giveUp(`not what __test__/install/golden has:\n${differences.join('\n')}`, 1)
}
