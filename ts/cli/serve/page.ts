/**
 * The page of the dashboard: the files that scripts/build/page.mjs has made. They have nothing of
 * any VM, so everybody may have them.
 */

import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { packageRoot } from '../../ground/package-root.js'
import type { Answer, Route } from '../../server/http.js'

const FOLDER = join(packageRoot(fileURLToPath(import.meta.url)), 'dist/page')

const zip = promisify(gzip)

/** Each path with its file and its type. */
const FILES = [
  ['/', 'index.html', 'text/html'],
  ['/page.js', 'page.js', 'text/javascript'],
  ['/worker.js', 'worker.js', 'text/javascript'],
  ['/page.css', 'page.css', 'text/css'],
  ['/icon.svg', 'icon.svg', 'image/svg+xml'],
  ['/THIRD-PARTY.txt', 'THIRD-PARTY.txt', 'text/plain'],
] as const

/**
 * The page runs its own scripts and asks its own server. Nothing else is loaded, and no text can
 * become a script or markup: trusted types refuse it.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types worker',
].join('; ')

const SECURITY = { 'Content-Security-Policy': POLICY, Vary: 'Accept-Encoding' }

/** Where the page is, and what it needs: files of `folder`. */
export function pageRoutes(folder: string = FOLDER): [path: string, route: Route][] {
  return FILES.map(([path, file, type]) => [
    path,
    { answer: answerOf(join(folder, file), type), isPublic: true },
  ])
}

/** Reads and compresses the file at the first request, while other requests are answered. */
function answerOf(file: string, type: string): Route['answer'] {
  const contentType = `${type}; charset=utf-8`
  let read: Promise<{ plain: Answer; zipped: Answer }> | undefined
  const prepared = async (): Promise<{ plain: Answer; zipped: Answer }> => {
    const body = await readFile(file)
    return {
      plain: { contentType, body, headers: SECURITY },
      zipped: {
        contentType,
        body: await zip(body, { level: 9 }),
        headers: { ...SECURITY, 'Content-Encoding': 'gzip' },
      },
    }
  }
  return async request => {
    read ??= prepared()
    try {
      const { plain, zipped } = await read
      return takesGzip(request) ? zipped : plain
    } catch (error) {
      // There may have been too many open files. The next request reads it again.
      read = undefined
      throw error
    }
  }
}

function takesGzip({ headers }: IncomingMessage): boolean {
  return /(^|,)\s*gzip\s*(,|$)/i.test(headers['accept-encoding']?.toString() ?? '')
}
