/**
 * Asks the HTTP API of a Prometheus, or of what speaks like one. Each answer has a limit of its
 * size and of its time, and each number of it is checked.
 */

import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { DirtyRateError } from '../../../ground/errors.js'
import type { Access } from './access.js'
import { networkHint, networkReason } from './network-error.js'

/** One series of an answer. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** What a query gives. */
export interface Answer {
  readonly series: readonly Series[]
  /** The time of the query by Prometheus's clock, in seconds; undefined if no series is there. */
  readonly atSeconds: number | undefined
  /** What Prometheus warns of: a store that did not answer, for example. */
  readonly warnings: readonly string[]
}

interface Limits {
  readonly answerMs: number
  readonly bytes: number
}

/** A host with 512 VMs of 32 windows each has about 90,000 series, of some 250 bytes each. */
const LIMITS: Limits = { answerMs: 30_000, bytes: 2 ** 26 }
/** So much of an answer that is no JSON is read, to say what it is. */
const LONGEST_MESSAGE = 300

export class PrometheusClient {
  readonly #access: Access
  readonly #signal: AbortSignal
  readonly #limits: Limits

  constructor(access: Access, signal: AbortSignal, limits: Partial<Limits> = {}) {
    this.#access = access
    this.#signal = signal
    this.#limits = { ...LIMITS, ...limits }
  }

  /** The series that `expression` has now. Rejects with ERR_PROMETHEUS. */
  async query(expression: string): Promise<Answer> {
    const { url } = this.#access
    const asked = new URL(`${url.pathname.replace(/\/+$/, '')}/api/v1/query`, url)
    asked.searchParams.set('query', expression)
    const { status, location, text } = await this.#get(asked)
    if (status >= 300 && status < 400) {
      throw failure(
        `${url.href} redirects to ${location ?? 'another address'}`,
        'Give the address to which it redirects: --prometheus never follows.',
      )
    }
    const document = parsed(text)
    if (document === undefined) {
      throw failure(`${url.href} answers with status ${status} and no JSON`, hintFor(status))
    }
    if (status !== 200 || document.status !== 'success') {
      const { error } = document
      const said = typeof error === 'string' ? `: ${error.slice(0, LONGEST_MESSAGE)}` : ''
      throw failure(`${url.href} answers with status ${status}${said}`, hintFor(status))
    }
    return answerOf(document, url.href)
  }

  #get(url: URL): Promise<{ status: number; location: string | undefined; text: string }> {
    const { authorization, ca } = this.#access
    const time = AbortSignal.timeout(this.#limits.answerMs)
    const signal = AbortSignal.any([this.#signal, time])
    const headers = {
      accept: 'application/json',
      ...(authorization === undefined ? {} : { authorization }),
    }
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        if (this.#signal.aborted) reject(this.#signal.reason)
        else if (time.aborted) reject(this.#tooLate())
        else if (error instanceof DirtyRateError) reject(error)
        else
          reject(failure(`${this.#access.url.href}: ${networkReason(error)}`, networkHint(error)))
      }
      const isSecure = url.protocol === 'https:'
      const options = {
        headers,
        signal,
        agent: false,
        ...(isSecure && ca !== undefined ? { ca } : {}),
      }
      const asking = (isSecure ? requestHttps : requestHttp)(url, options, response => {
        const parts: Buffer[] = []
        let bytes = 0
        response.on('data', (part: Buffer) => {
          bytes += part.length
          if (bytes <= this.#limits.bytes) parts.push(part)
          else {
            fail(this.#tooLong())
            response.destroy()
          }
        })
        response.on('error', fail)
        // The connection may end before the answer is whole.
        response.on('aborted', () => fail(new Error('the answer is cut off')))
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8')
          const { statusCode: status = 0, headers: answered } = response
          resolve({ status, location: answered.location, text })
        })
      })
      asking.on('error', fail)
      asking.end()
    })
  }

  #tooLate(): Error {
    return failure(
      `${this.#access.url.href} did not answer within ${this.#limits.answerMs / 1000} s`,
      'Try again, or ask for fewer hosts at once with --host or --match.',
    )
  }

  #tooLong(): Error {
    return failure(
      `${this.#access.url.href} answers with more than ${this.#limits.bytes / 2 ** 20} MiB`,
      'Select fewer series with --match.',
    )
  }
}

export function failure(message: string, hint?: string): DirtyRateError {
  return new DirtyRateError('ERR_PROMETHEUS', `--prometheus: ${message}`, hint ? { hint } : {})
}

function hintFor(status: number): string {
  if (status === 401 || status === 403)
    return 'Give --token-file or --basic-auth-file with what this server takes.'
  if (status === 404)
    return 'Give the URL under which /api/v1/query is found, with its prefix: https://host/prometheus.'
  if (status === 200) return 'This is not the API of a Prometheus. Check the URL.'
  return 'The message is from the server, whose log may say more.'
}

interface Document {
  readonly status?: unknown
  readonly error?: unknown
  readonly data?: unknown
  readonly warnings?: unknown
}

function parsed(text: string): Document | undefined {
  try {
    const document: unknown = JSON.parse(text)
    return typeof document === 'object' && document !== null ? document : undefined
  } catch {
    return undefined
  }
}

/** The series of a document, each number of which is checked. */
function answerOf({ data, warnings }: Document, url: string): Answer {
  const { resultType, result } = Object(data) as { resultType?: unknown; result?: unknown }
  if (resultType !== 'vector' || !Array.isArray(result))
    throw failure(`${url} answers with something else than a vector`, hintFor(200))
  let atSeconds: number | undefined
  const series = result.map((one: unknown): Series => {
    const { metric, value } = Object(one) as { metric?: unknown; value?: unknown }
    const [at, text] = Array.isArray(value) ? (value as unknown[]) : []
    const isObject = typeof metric === 'object' && metric !== null
    const labels = isObject ? Object.entries(metric) : []
    const areTexts = labels.every(([, label]) => typeof label === 'string')
    if (!isObject || !areTexts || typeof at !== 'number' || typeof text !== 'string')
      throw failure(`${url} answers with a series of an unknown form`, hintFor(200))
    atSeconds = at
    return { labels: Object.fromEntries(labels), value: numberOf(text) }
  })
  const texts = Array.isArray(warnings) ? warnings.filter(one => typeof one === 'string') : []
  return { series, atSeconds, warnings: texts }
}

/** Prometheus writes +Inf and -Inf as Go does. */
function numberOf(text: string): number {
  return Number(text.replace(/^([+-]?)Inf$/, '$1Infinity'))
}
