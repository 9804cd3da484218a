/**
 * The only importer of the native binding. It loads at the first use, so that importing the package never fails; what fails then is
 * one error that says which binary was looked for and why it did not load.
 */

import { createRequire } from 'node:module'
import type * as Binding from '../native/binding.cjs'
import { DirtyRateError, fromNative, isError } from './errors.js'

export type {
  CancelToken,
  NativeBlock,
  NativeCapabilities,
  NativeCrash,
  NativeCreateOptions,
  NativeDeadlineReport,
  NativeInstant,
  NativeReap,
  NativeSampleOptions,
  NativeSampleReport,
  NativeSyncReport,
  NativeTruth,
  NativeVirtualMachine,
  NativeWorkloadOptions,
} from '../native/binding.cjs'

/** The platforms that have a package with the binary. */
const PREBUILT: readonly string[] = ['linux-x64-gnu', 'linux-arm64-gnu']

const NOT_PREBUILT =
  "There are binaries for linux-x64 and linux-arm64, with glibc, only: KVM is Linux's. On another Linux build from a clone: npm run setup."

let loaded: typeof Binding | undefined

/** The binding. Throws ERR_NATIVE_LOAD. */
export function native(): typeof Binding {
  loaded ??= load(() => createRequire(import.meta.url)('../native/binding.cjs') as typeof Binding)
  return loaded
}

/** Runs `require`; its failure as ERR_NATIVE_LOAD. Apart from {@link native} so that a test can make it fail. */
export function load<T>(require: () => T): T {
  try {
    return require()
  } catch (error) {
    const platform = `${process.platform}-${process.arch}`
    const libc = libcName()
    const expected = `${platform}${libc === undefined ? '' : libc.startsWith('glibc') ? '-gnu' : '-musl'}`
    throw new DirtyRateError(
      'ERR_NATIVE_LOAD',
      `no native binding for ${platform}${libc === undefined ? '' : ` (${libc})`}: expected the package dirtyrate-${expected}: ${deepestReason(error)}`,
      { cause: error, ...(PREBUILT.includes(expected) ? {} : { hint: NOT_PREBUILT }) },
    )
  }
}

/**
 * The loader that napi-rs generates tries several places, chains the failures as causes and blames npm for each: the message worth
 * showing is the dynamic linker's, or else that of the deepest cause.
 */
function deepestReason(error: unknown): string {
  let reason = String(error)
  let fromLinker = false
  for (let at: unknown = error; isError(at); at = at.cause) {
    const isLinker = (at as Error & { code?: string }).code === 'ERR_DLOPEN_FAILED'
    if (isLinker || !fromLinker) reason = at.message
    fromLinker ||= isLinker
  }
  return reason.split('\n', 1)[0] ?? reason
}

function libcName(): string | undefined {
  if (process.platform !== 'linux') return undefined
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  const version = report.header?.glibcVersionRuntime
  return version === undefined ? 'musl' : `glibc ${version}`
}

/** Makes one native call; whatever it throws or rejects with becomes a DirtyRateError with its hint. */
export function callNative<T>(call: () => Promise<T>): Promise<T>
export function callNative<T>(call: () => T): T
export function callNative<T>(call: () => T | Promise<T>): T | Promise<T> {
  const rethrow = (error: unknown): never => {
    throw fromNative(error)
  }
  try {
    const result = call()
    // The binding's promises are of the realm that it was loaded in, which need not be this one.
    return isPromise(result) ? result.catch(rethrow) : result
  } catch (error) {
    return rethrow(error)
  }
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return Object.prototype.toString.call(value) === '[object Promise]'
}
