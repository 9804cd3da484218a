/**
 * The object `process` of Node. It is a global, but not in every realm: one of `node:vm` has only
 * the globals of ECMAScript. An import of `node:process` would read each of its properties, also
 * the report, which looks up the name of every peer of an open socket, and which a runtime may
 * refuse.
 */

import { createRequire } from 'node:module'

// A built-in module is the same from whatever file it is required.
export const hostProcess: NodeJS.Process = createRequire('/')('node:process') as NodeJS.Process
