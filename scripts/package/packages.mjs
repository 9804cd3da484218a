// Lays out the packages that are published: the main package with only JavaScript, and one package
// for each platform with its binary. Each is laid out in its own folder below target/ and packed
// from there, so that nothing in the clone is rewritten. This builds nothing.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/**
 * For each target in package.json's `napi.targets`: npm's names for it, and readelf's name of its
 * machine.
 */
const PLATFORMS = {
  'x86_64-unknown-linux-gnu': { os: 'linux', cpu: 'x64', libc: 'glibc', machine: 'X86-64' },
  'aarch64-unknown-linux-gnu': { os: 'linux', cpu: 'arm64', libc: 'glibc', machine: 'AArch64' },
}

/** The platforms that have a prebuilt binary, with the names of its file and its package. */
export const platforms = manifest.napi.targets.map(target => {
  const platform = PLATFORMS[target]
  const suffix = `${platform.os}-${platform.cpu}-${platform.libc === 'glibc' ? 'gnu' : 'musl'}`
  return {
    ...platform,
    target,
    name: `${manifest.name}-${suffix}`,
    file: `${manifest.napi.binaryName}.${suffix}.node`,
  }
})

/** The platform that this runs on. */
export const host = platforms.find(({ os, cpu }) => os === process.platform && cpu === process.arch)

/** Where the tarballs go. */
export const packagesFolder = join(root, 'target/packages')

/** Where the tarballs go whose only binary is this machine's, as npm run setup built it. */
export const hostPackagesFolder = join(root, 'target/packages-host')

/**
 * Trusted publishing compares `repository` with where the workflow runs: there its environment says
 * it.
 */
function repository() {
  const { GITHUB_SERVER_URL, GITHUB_REPOSITORY } = process.env
  if (GITHUB_REPOSITORY === undefined) return {}
  return { repository: { type: 'git', url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git` } }
}

const licences = ['LICENSE-MIT', 'LICENSE-APACHE']

/** Lays a package out in a folder of its own, in `into`, and returns that. */
function stage(packageManifest, files, into) {
  const folder = join(into, 'staged', packageManifest.name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(packageManifest, null, 2)}\n`)
  for (const [from, to] of files) cpSync(from, join(folder, to), { recursive: true })
  return folder
}

/**
 * The main package. It installs everywhere: no `os`, no install script; the platform packages are
 * optional, of its own version.
 */
export function stageMain(into) {
  // `private` keeps a clone from being published as it is; the rest only a clone has a use for.
  const { private: _, scripts, devDependencies, overrides, napi, ...published } = manifest
  const optionalDependencies = Object.fromEntries(
    platforms.map(({ name }) => [name, manifest.version]),
  )
  const files = ['README.md', ...manifest.files].map(name => [join(root, name), name])
  return stage({ ...published, ...repository(), optionalDependencies }, files, into)
}

/** The package of a platform around `binary`. */
export function stagePlatform(platform, binary, into) {
  const { os, cpu, libc, name, file } = platform
  const readme = `# ${name}\n\nThe ${os}-${cpu} binary of \`${manifest.name}\`, which installs it by itself.\n`
  const folder = stage(
    {
      name,
      version: manifest.version,
      description: `The ${os}-${cpu} (${libc}) binary of ${manifest.name}`,
      license: manifest.license,
      ...repository(),
      os: [os],
      cpu: [cpu],
      libc: [libc],
      // Of N-API 6, and without a gap: where it is not met npm leaves the package out and says
      // nothing.
      engines: { node: '>=14' },
      type: 'commonjs',
      main: file,
      files: [file, ...licences],
    },
    [[binary, file], ...licences.map(licence => [join(root, licence), licence])],
    into,
  )
  writeFileSync(join(folder, 'README.md'), readme)
  return folder
}

/**
 * Packs a staged folder into `into`. Returns the tarball's path, npm's list of the files in it, and
 * its sizes.
 */
export function pack(folder, into) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', into]
  const packed = spawnSync('npm', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (packed.status !== 0) throw new Error(`npm pack ended with ${packed.status}`)
  // npm 11 answers with an array, npm 12 with an object by name.
  const answer = JSON.parse(packed.stdout)
  const [{ name, filename, files, size, unpackedSize }] = Array.isArray(answer)
    ? answer
    : Object.values(answer)
  return {
    name,
    tarball: join(into, filename),
    files: files.map(file => file.path).sort(),
    size,
    unpackedSize,
  }
}
