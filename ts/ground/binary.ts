/**
 * Finds the file of the native binding and loads it. Why this is not the loader that napi-rs
 * generates is in docs/decisions/loading-the-binary.md; the errors are in load-failure.ts.
 */

import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type * as Binding from '../../native/binding.cjs'
import { elfFault } from './elf.js'
import { DirtyRateError } from './errors.js'
import { hostProcess } from './host-process.js'
import {
  type FoundBy,
  foreign,
  interrupted,
  noPackage,
  notFound,
  OVERRIDE,
  otherVersion,
  refused,
} from './load-failure.js'
import { packageRoot } from './package-root.js'
import { version } from './version.js'

/** The platforms that have a package with the binary. */
const PREBUILT: readonly string[] = ['linux-x64', 'linux-arm64']

/**
 * Loads the binding. Throws ERR_NATIVE_LOAD, which names the file that was looked for or found, and
 * says why it did not load.
 */
export function loadBinary(): typeof Binding {
  try {
    return findAndLoad()
  } catch (error) {
    // A runtime without the permission may refuse any step of the search, and its error names the
    // needed flag.
    throw error instanceof DirtyRateError ? error : interrupted(error)
  }
}

function findAndLoad(): typeof Binding {
  const override = environment(OVERRIDE)
  if (override) return loadFile(resolve(override), 'variable')
  const places = ownFiles()
  const platform = `${hostProcess.platform}-${hostProcess.arch}`
  const built = places
    .flatMap(place => ['gnu', 'musl'].map(libc => builtFile(place, `${platform}-${libc}`)))
    .find(file => existsSync(file))
  if (built !== undefined) return loadFile(built, 'build')
  if (!PREBUILT.includes(platform)) throw noPackage()
  return loadFile(packagedFile(`dirtyrate-${platform}-gnu`, places), 'package')
}

/**
 * The path of this module, and its real path if that is another one, because the package may be
 * linked from a store in which the binary lies.
 */
function ownFiles(): string[] {
  const own = ownFile()
  if (own === undefined) return []
  try {
    return [...new Set([own, realpathSync(own)])]
  } catch {
    // In an executable that a bundler made, this file does not exist.
    return [own]
  }
}

function ownFile(): string | undefined {
  try {
    // A bundler that makes CommonJS of an ES module leaves no `import.meta.url`, but then there is
    // a `__filename`.
    const url: string | undefined = import.meta.url
    if (url?.startsWith('file:')) return fileURLToPath(url)
    if (typeof __filename === 'string') return __filename
  } catch {
    // A bundler that makes an ES module of CommonJS leaves neither of them, and then this throws.
  }
  return hostProcess.argv[1]
}

/** The file that `npm run setup` builds in a clone. */
function builtFile(own: string, platform: string): string {
  return join(packageRoot(own), 'native', `dirtyrate.${platform}.node`)
}

/** The file of the platform's package, as Node finds it from one of `places`. */
function packagedFile(name: string, places: readonly string[]): string {
  let cause: unknown
  // If the file is found nowhere, the error about the first place is the most useful one, so it
  // comes last.
  for (const place of [...places].reverse()) {
    try {
      return createRequire(place).resolve(name)
    } catch (error) {
      cause = error
    }
  }
  throw notFound(name, places, cause)
}

function loadFile(file: string, foundBy: FoundBy): typeof Binding {
  const fault = faultOf(file)
  if (fault?.deadly) throw refused(file, foundBy, { fault: fault.text })
  let binding: Partial<typeof Binding>
  try {
    binding = createRequire(file)(file)
  } catch (cause) {
    throw refused(file, foundBy, { fault: fault?.text, cause })
  }
  if (typeof binding.NativeVirtualMachine !== 'function') throw foreign(file, foundBy, binding)
  if (binding.VERSION !== version) throw otherVersion(file, foundBy, binding.VERSION)
  return binding as typeof Binding
}

function faultOf(file: string): ReturnType<typeof elfFault> {
  try {
    return elfFault(file, hostProcess.arch)
  } catch {
    // If the file cannot be read, the dynamic linker cannot read it either, and its error says so.
    return undefined
  }
}

/**
 * An environment variable; undefined also where the process may not see it, as in Deno without
 * `--allow-env`.
 */
function environment(name: string): string | undefined {
  try {
    return hostProcess.env[name]
  } catch {
    return undefined
  }
}
