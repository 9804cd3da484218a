// Makes the tables of docs/targets.md from the table of schemes in ts/targets: the schemes, their
// workloads, and their options.
//
//   node scripts/build/target-tables.mjs            writes them into the page

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { withPart } from './marked-part.mjs'

const page = join(root, 'docs/targets.md')

const FORMS = {
  N: 'a number',
  RATE: 'a rate',
  SIZE: 'a size',
  FILE: 'a file',
  TEXT: 'a text',
}

const table = (head, rows) =>
  `${[head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')}\n`.replace(
    /^\| ---.*$/m,
    `|${'---|'.repeat(head.length)}`,
  )

const code = text => `\`${text}\``
/** A default is a value unless it is a phrase. */
const defaultOf = ({ default: text = 'none' }) => (/[ ]|^none$/.test(text) ? text : code(text))
const choicesOf = ({ value, choices }) => choices ?? (value.includes('|') ? value.split('|') : [])

function optionRow(name, option, users) {
  const choices = choicesOf(option)
  const form =
    choices.length > 0 ? choices.map(code).join(', ') : (FORMS[option.value] ?? option.value)
  return [code(name), form, defaultOf(option), option.meaning, users.map(code).join(', ')]
}

/** The tables by the names of their parts. */
export function targetTables(schemes) {
  const forms = schemes.map(({ name, operand, about }) => [code(`${name}:${operand}`), about])
  const named = schemes.flatMap(({ operands = {} }) => Object.entries(operands))
  const own = schemes.flatMap(({ name, options }) =>
    Object.entries(options).map(([key, option]) => optionRow(key, option, [`${name}:`])),
  )
  const shared = [...new Set(schemes.map(({ common }) => common))].flatMap(common => {
    const users = schemes.filter(scheme => scheme.common === common).map(({ name }) => `${name}:`)
    return Object.entries(common).map(([key, option]) => optionRow(key, option, users))
  })
  return {
    'the table of schemes': table(['scheme', 'what it opens'], forms),
    'the table of workloads': table(
      ['workload', 'what the guest writes'],
      named.map(([word, meaning]) => [code(word), meaning]),
    ),
    'the table of options': table(
      ['option', 'form', 'default', 'meaning', 'schemes'],
      [...own, ...shared],
    ),
  }
}

/** The page as it is, and with the tables that `schemes` make. */
export function pageWithTables(schemes) {
  const text = readFileSync(page, 'utf8')
  const made = Object.entries(targetTables(schemes)).reduce(
    (page, [name, part]) => withPart(page, name, part),
    text,
  )
  return { text, made }
}

if (isMain(import.meta.url)) {
  commandLine(import.meta.url)
  const folder = join(root, 'target/target-tables')
  const bundle = await rolldown({
    input: join(root, 'ts/targets/open.ts'),
    platform: 'node',
    logLevel: 'silent',
  })
  await bundle.write({
    dir: folder,
    entryFileNames: 'open.mjs',
    format: 'esm',
    codeSplitting: false,
  })
  await bundle.close()
  const { schemes } = await import(pathToFileURL(join(folder, 'open.mjs')).href)
  writeFileSync(page, pageWithTables(schemes).made)
}
