// The command line of a script. The comment at the top of the script is its help.

import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const EXIT_USAGE = 2

/**
 * Reads the command line of the script whose import.meta.url is `url`, as util.parseArgs does.
 * `--help` prints the comment at the top of the script and ends the process; an option that is not
 * in `options` does so as a mistake.
 */
export function commandLine(url, { options = {}, allowPositionals = false } = {}) {
  const file = fileURLToPath(url)
  const help = () =>
    readFileSync(file, 'utf8')
      .split('\n\n', 1)[0]
      .split('\n')
      .filter(line => line.startsWith('//'))
      .map(line => line.replace(/^\/\/ ?/, ''))
      .join('\n')
  try {
    const all = { ...options, help: { type: 'boolean', short: 'h' } }
    const { values, positionals } = parseArgs({ options: all, allowPositionals })
    if (values.help !== true) return { values, positionals }
    process.stdout.write(`${help()}\n`)
    process.exit(0)
  } catch (error) {
    if (!String(error?.code).startsWith('ERR_PARSE_ARGS')) throw error
    process.stderr.write(`${basename(file)}: ${error.message}\n\n${help()}\n`)
    return process.exit(EXIT_USAGE)
  }
}
