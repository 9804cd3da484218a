/**
 * Compares the pages with the code: the lists in docs/ are complete, and every link leads
 * somewhere.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorCodes, modes, warningCodes, workloadKinds } from '../ts/index.js'
import { families } from '../ts/metrics/families.js'
import { schemes } from '../ts/targets/open.js'
import { RIGHTS } from '../ts/targets/process/rights.js'
import { choicesOf, type Scheme } from '../ts/targets/scheme.js'
import { root } from './fixtures/command.js'
import { documented, exported, pages } from './install/docs.js'

const {
  pageWithTables,
}: {
  pageWithTables(
    schemes: readonly Scheme[],
    choices: typeof choicesOf,
  ): { text: string; made: string }
} = await import(join(root, 'scripts/build/target-tables.mjs'))

const {
  pageWithTable,
}: {
  pageWithTable(rights: typeof RIGHTS): { text: string; made: string }
} = await import(join(root, 'scripts/build/rights-table.mjs'))

const {
  pageWithTable: pageWithMetrics,
}: {
  pageWithTable(metrics: typeof families): { text: string; made: string }
} = await import(join(root, 'scripts/build/metrics-table.mjs'))

const read = (page: string): string => readFileSync(join(root, page), 'utf8')

/** The first column of the table that follows a heading. */
function firstColumn(page: string, heading: string): string[] {
  const [, section = ''] = read(page).split(`\n## ${heading}\n`)
  const [table = ''] = section.match(/^\|.*(\n\|.*)*/m) ?? []
  const rows = table.split('\n').slice(2)
  return rows.map(row => (row.split('|')[1] ?? '').trim().replaceAll('`', ''))
}

describe('docs/troubleshooting.md', () => {
  it('has every error code, in the order of the code', () => {
    expect(firstColumn('docs/troubleshooting.md', 'Errors')).toEqual([...errorCodes])
  })

  it('has every warning code', () => {
    expect(firstColumn('docs/troubleshooting.md', 'Warnings').sort()).toEqual(
      [...warningCodes].sort(),
    )
  })
})

describe('docs/targets.md', () => {
  it('has the tables that the schemes make', () => {
    const { text, made } = pageWithTables(schemes, choicesOf)
    expect(text, 'node scripts/build/target-tables.mjs').toBe(made)
    const [{ options = {}, common = {} } = {}] = schemes
    expect(firstColumn('docs/targets.md', 'Options of a target')).toEqual(
      expect.arrayContaining([...Object.keys(options), ...Object.keys(common)]),
    )
  })

  it('has every workload and every mode', () => {
    expect(firstColumn('docs/targets.md', 'Workloads')).toEqual([...workloadKinds])
    expect(firstColumn('docs/targets.md', 'Modes').sort()).toEqual([...modes].sort())
  })
})

it('docs/metrics.md has the table of metrics that the code has, and the number of series', () => {
  const { text, made } = pageWithMetrics(families)
  expect(text, 'node scripts/build/metrics-table.mjs').toBe(made)
  const ofTarget = Object.values(families).filter(({ labels }) => labels.join() === 'target')
  expect(text).toContain(`| without a label beside \`target\` | ${ofTarget.length} |`)
})

it('docs/hosts.md has the table of rights that the code has', () => {
  const { text, made } = pageWithTable(RIGHTS)
  expect(text, 'node scripts/build/rights-table.mjs').toBe(made)
})

it('each function and class of the package has an example in its comment', () => {
  const lists = ['errorCodes', 'logLevels', 'modes', 'traceNames', 'warningCodes', 'workloadKinds']
  const withExample = documented
    .filter(({ example }) => example !== undefined)
    .map(({ name }) => name)
  expect(exported).toContain('openTarget')
  expect(exported.filter(name => !lists.includes(name) && !withExample.includes(name))).toEqual([])
})

it('the index of the decisions has each of them', () => {
  const files = readdirSync(join(root, 'docs/decisions')).filter(name => name !== 'README.md')
  const listed = read('docs/decisions/README.md').match(/(?<=^\| \[)[^\]]+/gm) ?? []
  expect(listed.sort()).toEqual(files.sort())
})

it('the map in CONTRIBUTING.md has each folder of the sources', () => {
  const sources = ['ts', 'crates/dirtyrate/src', 'crates/dirtyrate-machine/src']
  const folders = sources.flatMap(source =>
    readdirSync(join(root, source), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isDirectory() && entry.name !== 'tests')
      .map(entry => entry.name),
  )
  // A folder that has only the tests of one file is named by this file.
  const named = read('CONTRIBUTING.md')
  const missing = folders.filter(name => !new RegExp(`[\`/]${name}[/\`]`).test(named))
  expect([...new Set(missing)]).toEqual([])
})

it('the README is at most 150 lines long', () => {
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(150)
})

/** What GitHub makes of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

describe.each([...pages, 'CONTRIBUTING.md', 'deploy/README.md'])('%s', page => {
  it('has no link that leads nowhere', () => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)]
    const dead = links.filter(([, path = '', anchor]) => {
      const file = path === '' ? page : join(dirname(page), path)
      if (!existsSync(join(root, file))) return true
      if (anchor === undefined) return false
      const headings = read(file).match(/(?<=^#+ ).*$/gm) ?? []
      return !headings.map(anchorOf).includes(anchor)
    })
    expect(dead.map(([link]) => link)).toEqual([])
  })
})

describe.each([...pages, 'CONTRIBUTING.md'])('%s', page => {
  it('names no file of the project that is not there', () => {
    const paths =
      read(page).match(/(?<=`)(?:ts|crates|scripts|__test__|examples|docs)\/[\w./-]+(?=`)/g) ?? []
    expect(paths.filter(path => !existsSync(join(root, path)))).toEqual([])
  })
})
