// The breaks of the mutation gate, which are the data in scripts/mutation/breaks/. Each file there
// is an area and exports a list of
//
//   { name, file, find, replace, test }
//
// `file` is relative to the root of the repository. `find` must be in it exactly once. `test` must
// fail when `replace` stands there instead. `test` is one of:
//
//   measured_equals_truth              an integration test, by its file in the folder `tests` of one of the CRATES below
//   dirty_ring::model_tests            tests inside the core's library, by their module; loom runs those of `loom_models`
//   dirtyrate-machine boot::file       the same inside another crate's library, which is named first
//   __test__/ground/units.test.ts             a file of vitest; with `-t NAME` behind it, only those of its tests whose names contain NAME

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** The crates that have tests, in crates/. The first has those whose crate is not named. */
const CRATES = ['dirtyrate', 'dirtyrate-machine']

const FIELDS = ['name', 'file', 'find', 'replace', 'test']

/** All breaks below `root`, each with the `area` that it is listed in. */
export async function loadBreaks(root) {
  const folder = join(root, 'scripts/mutation/breaks')
  const files = readdirSync(folder)
    .filter(name => name.endsWith('.mjs'))
    .sort()
  const lists = files.map(async name => {
    const { default: list } = await import(pathToFileURL(join(folder, name)).href)
    return list.map(one => ({ area: basename(name, '.mjs'), ...one }))
  })
  return (await Promise.all(lists)).flat()
}

/**
 * How a break's test is run: `{ runner: 'vitest', file, pattern? }`, or
 * `{ runner: 'cargo', crate, name, inside, loom }`.
 */
export function testOf(root, { test }) {
  const vitest = /^(\S+\.test\.ts)(?: -t (.+))?$/s.exec(test)
  if (vitest) return { runner: 'vitest', file: vitest[1], pattern: vitest[2] }
  const isIn = crate =>
    [`${test}.rs`, `${test}/main.rs`].some(file =>
      existsSync(join(root, 'crates', crate, 'tests', file)),
    )
  const holder = CRATES.find(isIn)
  if (holder) return { runner: 'cargo', crate: holder, name: test, inside: false, loom: false }
  const [, crate = CRATES[0], name] = /^(?:(\S+) )?(.*)$/.exec(test)
  return { runner: 'cargo', crate, name, inside: true, loom: /(^|::)loom_models\b/.test(name) }
}

/**
 * The faults of the list itself, one sentence each. A break that no longer fits the code proves
 * nothing.
 */
export function faultsOf(root, breaks) {
  const seen = new Set()
  return breaks.flatMap(one => {
    const faults = []
    const say = text => faults.push(`${one.area}: ${one.name}: ${text}`)
    for (const field of FIELDS)
      if (typeof one[field] !== 'string') say(`its ${field} is not a string`)
    for (const key of Object.keys(one))
      if (![...FIELDS, 'area'].includes(key)) say(`nobody reads its ${key}`)
    if (faults.length > 0) return faults
    if (seen.has(`${one.area}/${one.name}`)) say('another break of the area has this name')
    seen.add(`${one.area}/${one.name}`)
    if (one.find === one.replace) say('it changes nothing')
    const path = join(root, one.file)
    if (!existsSync(path)) say(`there is no file ${one.file}`)
    else {
      const places = readFileSync(path, 'utf8').split(one.find).length - 1
      if (places !== 1) say(`the code to break is in ${one.file} ${places} times, not once`)
    }
    const test = testOf(root, one)
    if (test.runner === 'vitest' && !existsSync(join(root, test.file)))
      say(`there is no test ${test.file}`)
    if (test.runner === 'cargo' && test.inside && !isModule(root, test.crate, test.name))
      say(`there is no test ${one.test}`)
    return faults
  })
}

/** Whether a crate has a module by that path, or one whose path ends so. */
function isModule(root, crate, path) {
  const last = path.split('::').at(-1)
  const source = join(root, 'crates', crate, 'src')
  if (!existsSync(source)) return false
  return readdirSync(source, { recursive: true, withFileTypes: true }).some(
    entry =>
      entry.name === `${last}.rs` ||
      (entry.isDirectory() && entry.name === last) ||
      (entry.name.endsWith('.rs') &&
        new RegExp(`\\b(mod|fn) ${last}\\b`).test(
          readFileSync(join(entry.parentPath ?? entry.path, entry.name), 'utf8'),
        )),
  )
}

/** The lines of a break, as a diff shows them: `whole` is the text of its file. */
export function diffOf({ file, find, replace }, whole) {
  const at = whole.indexOf(find)
  const start = whole.lastIndexOf('\n', at - 1) + 1
  const after = whole.indexOf('\n', at + find.length)
  const end = find.endsWith('\n') ? at + find.length - 1 : after === -1 ? whole.length : after
  const old = whole.slice(start, end)
  const broken =
    old.slice(0, at - start) +
    replace +
    whole.slice(at + find.length, Math.max(end, at + find.length))
  const line = whole.slice(0, start).split('\n').length
  const mark = (sign, text) => text.split('\n').map(one => `  ${sign}${one}`)
  return [`  ${file}:${line}`, ...mark('-', old), ...mark('+', broken.replace(/\n$/, ''))].join(
    '\n',
  )
}
