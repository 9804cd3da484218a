// Whether a script was called, and not imported by another one. `import.meta.main` exists only from
// Node 24 on.

import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * `url` is the module's import.meta.url. Both paths are resolved, because a clone may be called by
 * a link to it.
 */
export function isMain(url) {
  const called = process.argv[1]
  return called !== undefined && realPath(called) === realPath(fileURLToPath(url))
}

function realPath(path) {
  try {
    return realpathSync(path)
  } catch {
    // Of `node --eval`, whose first argument is no script.
    return undefined
  }
}
