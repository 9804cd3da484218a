/**
 * Why the native binding did not load, in words, and what to do about it: every ERR_NATIVE_LOAD is
 * made here.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DirtyRateError, isError } from './errors.js'
import { hostProcess } from './host-process.js'
import { packageRoot } from './package-root.js'
import { version } from './version.js'

/**
 * The environment variable that names another binary, for every addon that is made with napi-rs.
 */
export const OVERRIDE = 'NAPI_RS_NATIVE_LIBRARY_PATH'

/**
 * How the file was found: by {@link OVERRIDE}, as the build of a clone, or in the platform's
 * package.
 */
export type FoundBy = 'variable' | 'build' | 'package'

const NOT_PREBUILT =
  'There are binaries for linux-x64 and linux-arm64, with glibc, only: KVM is part of Linux. On another Linux, build it from a clone: npm run setup.'

const BUNDLED =
  "Keep dirtyrate external, so that it stays in node_modules with its binary: --external:dirtyrate (esbuild), --external dirtyrate (bun, ncc), external: ['dirtyrate'] (rollup, rolldown), ssr: { external: ['dirtyrate'] } (vite), externals: { dirtyrate: 'commonjs dirtyrate' } (webpack)."

const ALLOW_ADDONS = 'Run Node with --allow-addons beside --permission: the binding is an addon.'
const WITHOUT_NO_ADDONS =
  'Run Node without --no-addons (look into NODE_OPTIONS too): the binding is an addon.'
const NOEXEC =
  'Nothing may be executed from where the file is, such as a file system that is mounted noexec: install the package elsewhere, or mount that without noexec.'
const OLD_SYSTEM =
  'The binary needs glibc 2.17 or later and Node 20.19 or later: use newer ones, or build it from a clone: npm run setup.'
const VARIABLE = `Unset ${OVERRIDE}, or set it to the file of dirtyrate ${version} for this package's processes only.`

/**
 * The advice for each message of a loader: of Node, glibc, musl, Bun and Deno. The first match
 * counts.
 */
const ADVICE: readonly (readonly [RegExp, string | (() => string)])[] = [
  [/addons is disabled/, () => (isPermissionModelOn() ? ALLOW_ADDONS : WITHOUT_NO_ADDONS)],
  [
    /--allow-[a-z-]+/,
    'Run Deno with --allow-ffi, --allow-read and --allow-env: the binding is a native library.',
  ],
  [
    /too many open files/i,
    'Raise the limit of open files of this process (ulimit -n), or close files of other programs (sysctl fs.file-max).',
  ],
  [
    /Cannot allocate memory|static TLS/,
    'Free memory, or raise the limit of this process (ulimit -v).',
  ],
  [/map segment|Operation not permitted|segment prot/, NOEXEC],
  [/ld-musl|shared library|Error relocating|libc\.so\.6/, NOT_PREBUILT],
  [/GLIBC|undefined symbol|symbol not found/, OLD_SYSTEM],
  [
    /Permission denied|EACCES/,
    'Let this user read the file, and enter every folder on the way to it.',
  ],
]

/** The search for the binary ended with `error`. */
export function interrupted(error: unknown): DirtyRateError {
  const words = firstLine(error)
  return loadFailure(words, adviceFor(words) ?? again('package'), error)
}

/** There is no package with a binary for this platform. */
export function noPackage(): DirtyRateError {
  return loadFailure('there is no package with a binary for it', NOT_PREBUILT)
}

/** The package `name` was not found from any of `places`, which are the paths of this module. */
export function notFound(name: string, places: readonly string[], cause: unknown): DirtyRateError {
  const reason = `expected the package ${name}: ${firstLine(cause)}`
  if (isWebpacked() || !places.some(isInPackage))
    return loadFailure(`${reason} (this code runs bundled)`, BUNDLED, cause)
  const install = `Install it: npm install ${name}@${version}. npm leaves it out with --omit=optional, and when package-lock.json was written on another platform: then remove that and node_modules first.`
  const denied = adviceFor(firstLine(cause))
  return loadFailure(reason, libcName() === 'musl' ? NOT_PREBUILT : (denied ?? install), cause)
}

/**
 * `file` did not load: the dynamic linker or the runtime refused it with the error `cause`, or its
 * ELF header has a `fault`, or both.
 */
export function refused(
  file: string,
  foundBy: FoundBy,
  { fault, cause }: { fault?: string | undefined; cause?: unknown },
): DirtyRateError {
  const words = cause === undefined ? '' : firstLine(cause)
  const faulty = fault === undefined ? '' : `${file} ${fault}`
  const said = words === '' || words.includes(file) ? words : `${file}: ${words}`
  const hint =
    foundBy === 'variable'
      ? VARIABLE
      : ((faulty === '' ? adviceFor(words) : undefined) ?? again(foundBy))
  return loadFailure(
    [faulty, said].filter(text => text !== '').join(': ') + named(foundBy),
    hint,
    cause,
  )
}

/** The loaded file is not this package's binding; it exports `exported`. */
export function foreign(file: string, foundBy: FoundBy, exported: object): DirtyRateError {
  const names = Object.keys(exported).slice(0, 5)
  const has = names.length === 0 ? 'exports nothing' : `exports ${names.join(', ')}`
  return loadFailure(
    `${file} is the binding of something else: it ${has}${named(foundBy)}`,
    again(foundBy),
  )
}

/**
 * The binding belongs to another version of this package, which is `found`, or undefined if the
 * binding does not say it.
 */
export function otherVersion(
  file: string,
  foundBy: FoundBy,
  found: string | undefined,
): DirtyRateError {
  return loadFailure(
    `${file} is of version ${found ?? 'unknown'}, and this package is dirtyrate ${version}${named(foundBy)}`,
    foundBy === 'package'
      ? `Install both in one version: npm install dirtyrate@${version}, without an override or a lock that holds the other back.`
      : again(foundBy),
  )
}

function loadFailure(reason: string, hint: string, cause?: unknown): DirtyRateError {
  const libc = libcName()
  const platform = `${hostProcess.platform}-${hostProcess.arch}${libc === undefined ? '' : ` (${libc})`}`
  return new DirtyRateError('ERR_NATIVE_LOAD', `no native binding for ${platform}: ${reason}`, {
    hint,
    cause,
  })
}

/** Advice how to get a good file. */
function again(foundBy: FoundBy): string {
  if (foundBy === 'variable') return VARIABLE
  if (foundBy === 'build') return 'Build it again: npm run setup.'
  return "Remove that package's folder from node_modules, and install again."
}

const named = (foundBy: FoundBy): string =>
  foundBy === 'variable' ? `; ${OVERRIDE} names this file` : ''

function adviceFor(words: string): string | undefined {
  const advice = ADVICE.find(([pattern]) => pattern.test(words))?.[1]
  return typeof advice === 'function' ? advice() : advice
}

/** The loader's own words, without Node's list of requiring modules. */
function firstLine(error: unknown): string {
  const text = isError(error) ? error.message : String(error)
  return text.trim().split('\n', 1)[0] ?? ''
}

/** Whether Node's permission model is on, which loads no addon without `--allow-addons`. */
function isPermissionModelOn(): boolean {
  return (hostProcess as { permission?: unknown }).permission !== undefined
}

declare const __webpack_require__: unknown

/**
 * Whether this module was bundled by webpack or a similar bundler, which give a module the path of
 * its source and not of the bundle.
 */
function isWebpacked(): boolean {
  return typeof __webpack_require__ !== 'undefined'
}

/** Whether `file` lies in a folder of this package, and not in a bundle. */
function isInPackage(file: string): boolean {
  try {
    const manifest = readFileSync(join(packageRoot(file), 'package.json'), 'utf8')
    return JSON.parse(manifest).name === 'dirtyrate'
  } catch {
    return false
  }
}

/**
 * The C library of this process: 'musl', 'glibc 2.36', or undefined if that cannot be found out. It
 * is read from the list of mapped files. `process.report.getReport()` says it too, but looks up the
 * name of each peer of each open socket, which takes seconds if the name server does not answer,
 * and Deno allows it only with `--allow-sys`.
 */
function libcName(): string | undefined {
  if (hostProcess.platform !== 'linux') return undefined
  try {
    const maps = readFileSync('/proc/self/maps', 'utf8')
    if (/\/ld-musl-/.test(maps)) return 'musl'
    const file = /\/\S*\/libc(?:\.so\.6|-[\d.]+\.so)$/m.exec(maps)?.[0]
    if (file === undefined) return undefined
    const found = /GNU C Library .*? version (\d+\.\d+)/.exec(readFileSync(file, 'latin1'))?.[1]
    return found === undefined ? 'glibc' : `glibc ${found}`
  } catch {
    return undefined
  }
}
