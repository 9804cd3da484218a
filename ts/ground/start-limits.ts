/** The limits of the kernel because of which a program cannot be started. */

import { codeOf, DirtyRateError } from './errors.js'

/** What the kernel says of each limit, and what helps. */
const LIMITS: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  EMFILE: [
    'this process may open no more files',
    'Raise its limit, for example with: ulimit -n 1024.',
  ],
  ENFILE: ['this host may open no more files', 'Raise its limit: sysctl fs.file-max.'],
  EAGAIN: ['this user may start no more processes', 'Raise the limit: ulimit -u.'],
}

/** The error that names the limit; undefined if something else kept `program` from its start. */
export function startLimit(program: string, error: unknown): DirtyRateError | undefined {
  const code = codeOf(error) ?? ''
  const [why, hint] = LIMITS[code] ?? []
  if (why === undefined || hint === undefined) return undefined
  return new DirtyRateError('ERR_LIMIT', `${program} cannot be started: ${why} (${code})`, {
    hint,
    cause: error,
    details: { program },
  })
}
