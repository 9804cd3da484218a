// Checks that no line of prose is too long: 100 columns in Markdown and in the comments of
// TypeScript and of scripts, 120 in those of Rust. The formatters hold the code itself.
//
//   node scripts/lint/widths.mjs
//
// Tables, code blocks and links in Markdown are as wide as they have to be, and so are what is
// indented in a comment and a word that cannot be broken.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'

const COLUMNS = 100
const RUST_COLUMNS = 120

/** What a comment begins with, by the end of the file's name. */
const COMMENTS = [
  { name: /\.rs$/, begin: /^\s*\/\/[/!]? ?/, columns: RUST_COLUMNS },
  { name: /\.([cm]?tsx?|[cm]js)$/, begin: /^\s*(\/\/|\/\*\*|\*) ?/, columns: COLUMNS },
  { name: /(\.(sh|ya?ml|toml)|^\.ci\/[\w-]+)$/, begin: /^\s*# ?/, columns: COLUMNS },
]
/** What nobody writes by hand. */
const MADE = /^native\/|\/golden\/|^THIRD-PARTY/

/** The numbers of the lines of `text` that are too long, from 1 on. */
export function tooLong(file, text) {
  const lines = text.split('\n')
  if (file.endsWith('.md')) return tooLongInMarkdown(lines)
  const comments = COMMENTS.find(({ name }) => name.test(file))
  if (comments === undefined) return []
  let inCode = false
  return numbersOf(lines, line => {
    const [begin] = comments.begin.exec(line) ?? []
    if (begin === undefined) inCode = false
    else if (line.startsWith('```', begin.length)) inCode = !inCode
    if (inCode) return false
    // What is indented is a list of commands, or a table.
    const isProse = begin !== undefined && !/^[ |]/.test(line.slice(begin.length))
    return isProse && isTooLong(line, begin.length, comments.columns)
  })
}

function tooLongInMarkdown(lines) {
  let inCode = false
  return numbersOf(lines, line => {
    if (/^\s*(```|~~~)/.test(line)) inCode = !inCode
    if (inCode || /^\s*(\||<|\[.*\]:)/.test(line)) return false
    const [begin = ''] = /^\s*([-*>]|\d+\.)?\s*/.exec(line) ?? []
    return isTooLong(line, begin.length, COLUMNS)
  })
}

/**
 * Whether a line is longer than `columns`, and could be broken behind its first `begin` characters.
 */
function isTooLong(line, begin, columns) {
  return [...line].length > columns && line.lastIndexOf(' ', columns) >= begin
}

const numbersOf = (lines, isBad) => lines.flatMap((line, at) => (isBad(line) ? [at + 1] : []))

if (isMain(import.meta.url)) {
  commandLine(import.meta.url)
  // A new file that is not added yet is one too.
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const listed = execFileSync('git', list, { cwd: root, encoding: 'utf8' })
  const files = listed
    .split('\0')
    .filter(file => file !== '' && !MADE.test(file) && existsSync(join(root, file)))
  const found = files.flatMap(file =>
    tooLong(file, readFileSync(join(root, file), 'utf8')).map(number => `${file}:${number}`),
  )
  for (const place of found) console.log(`${place}: too long`)
  console.log(`widths: ${files.length} files, ${found.length} lines too long`)
  process.exitCode = found.length > 0 ? 1 : 0
}
