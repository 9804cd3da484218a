// Compiles the programs in C that tests run beside themselves: for this machine, or by another
// compiler for the rigs, which have none.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../root.mjs'

/** Where the source of each is, and what the compiler needs beside it. */
const PROGRAMS = {
  /** Writes the pages of its memory that it is told to. */
  writer: { source: '__test__/fixtures/writer.c', options: [] },
  /** Writes half of its memory again and again. */
  memory: { source: '__test__/faults/memory.c', options: [] },
  /** Makes calls of a process fail that has it preloaded. */
  'shim.so': { source: '__test__/faults/shim.c', options: ['-shared', '-fPIC', '-ldl'] },
}

/** The name of each. */
export const cPrograms = Object.keys(PROGRAMS)

/** Compiles the one that is called `name` into the file `path`. Throws what the compiler says. */
export function compileC(name, path, [command, ...args] = ['cc']) {
  const { source, options } = PROGRAMS[name]
  const all = [...args, '-O1', '-Wall', '-Werror', '-o', path, join(root, source), ...options]
  // What it says is in the error.
  execFileSync(command, all, { stdio: 'pipe' })
}
