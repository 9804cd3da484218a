/**
 * Makes the worker that predicts. The server lets this page run its own scripts only, by trusted
 * types: so no text of a VM can become a script, and not even the page's own mistakes can make it
 * one.
 */

import url from './worker.ts?worker&url'

/** What this page takes of the trusted types of a browser that has them. */
interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ): { createScriptURL(url: string): string }
}

const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes }
const policy = trustedTypes?.createPolicy('worker', { createScriptURL: () => url })

export const makeWorker = (): Worker =>
  new Worker(policy === undefined ? url : policy.createScriptURL(url), { type: 'module' })
