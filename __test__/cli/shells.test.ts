/**
 * Completion in real shells: a line that is typed with Tab on a terminal runs the command that was
 * meant.
 */

import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { type Shell, shells } from '../../ts/cli/shells.js'
import { cli, dirtyrate } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'

const PROMPT = 'READY> '

/** How each shell is started: its files of settings below `home`, and its command line. */
const SHELLS = {
  bash: {
    settings: '.bashrc',
    text: `PS1='${PROMPT}'\neval "$(dirtyrate completion bash)"\n`,
    command: (home: string) => `bash --noprofile --rcfile ${home}/.bashrc -i`,
  },
  zsh: {
    settings: '.zshrc',
    text: `PS1='${PROMPT}'\nautoload -U compinit && compinit -u -D\neval "$(dirtyrate completion zsh)"\n`,
    command: () => 'zsh -i',
  },
  fish: {
    settings: '.config/fish/config.fish',
    text: `function fish_prompt; echo -n '${PROMPT}'; end\ndirtyrate completion fish | source\n`,
    command: () => 'fish -i',
  },
}

interface Home {
  path: string
  /** The arguments of each command that was run, a JSON array per line. */
  log: string
}

/**
 * A folder with the shell's settings, and a `dirtyrate` that completes, and writes down what else
 * it is called with.
 */
function homeOf(shell: Shell): Home {
  const log = folder()('log', '')
  const path = dirname(log)
  const { settings, text } = SHELLS[shell]
  mkdirSync(dirname(join(path, settings)), { recursive: true })
  writeFileSync(join(path, settings), text)
  mkdirSync(join(path, 'bin'))
  const program = `#!${process.execPath}
const { appendFileSync } = require('node:fs')
const args = process.argv.slice(2)
if (args[0] === 'complete' || args[0] === 'completion') import(${JSON.stringify(cli)})
else appendFileSync(${JSON.stringify(log)}, JSON.stringify(args) + '\\n')
`
  writeFileSync(join(path, 'bin/dirtyrate'), program)
  chmodSync(join(path, 'bin/dirtyrate'), 0o755)
  return { path, log }
}

/** Types each of `lines` at a prompt of its own, and returns what was run. */
async function typed(shell: Shell, home: Home, lines: readonly string[]): Promise<string[][]> {
  const env = {
    HOME: home.path,
    ZDOTDIR: home.path,
    XDG_CONFIG_HOME: `${home.path}/.config`,
    XDG_DATA_HOME: `${home.path}/.data`,
    PATH: `${home.path}/bin:${process.env.PATH}`,
    TERM: 'dumb',
    LC_ALL: 'C.UTF-8',
    SHELL: '/bin/sh',
  }
  const command = SHELLS[shell].command(home.path)
  const child = spawn('script', ['-qec', `stty cols 200; exec ${command}`, '/dev/null'], {
    cwd: home.path,
    env,
  })
  const rest = [...lines]
  let output = ''
  let prompts = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    const seen = output.split(PROMPT).length - 1
    if (seen <= prompts) return
    // A line that is completed may be drawn anew with its prompt: the next one is typed when the
    // one before has run.
    const done = readFileSync(home.log, 'utf8').split('\n').length - 1
    if (done < lines.length - rest.length) return
    prompts = seen
    const line = rest.shift()
    if (line === undefined) child.stdin.end('exit\n')
    else child.stdin.write(`${line}\r`)
  })
  await new Promise(resolve => child.on('close', resolve))
  const ran = readFileSync(home.log, 'utf8')
  return ran
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))
}

for (const shell of shells) {
  describeInstalled(shell, shell, () => {
    it('completes commands, targets, options and files', async () => {
      const home = homeOf(shell)
      writeFileSync(join(home.path, 'bzImage'), '')
      const ran = await typed(shell, home, [
        'dirtyrate cal\tguest:str\t--mode dirty-r\t--win\t1s',
        'dirtyrate watch guest:random,mem\t4GiB,vc\t2 --ev\t1s',
        'dirtyrate curve ker\tbzI\t--desi\tstr\t',
        'dirtyrate calc guest:idle,lo\tri\t--log-l\tdeb\t',
      ])
      expect(ran).toEqual([
        ['calc', 'guest:stride', '--mode', 'dirty-ring', '--window', '1s'],
        ['watch', 'guest:random,memory=4GiB,vcpus=2', '--every', '1s'],
        ['curve', 'kernel:bzImage', '--design', 'stratified'],
        ['calc', 'guest:idle,log=ring', '--log-level', 'debug'],
      ])
    })

    it('quotes the name of a file, so that it is one word and nothing in it is run', async () => {
      const home = homeOf(shell)
      const names = [
        'k$(touch PWNED).elf',
        'my file',
        "it's",
        'sa;y',
        'st*r',
        'q"uote',
        'ex!cl',
        'back\\s',
        'c,d',
      ]
      for (const name of names) writeFileSync(join(home.path, name), '')
      const ran = await typed(shell, home, [
        'dirtyrate calc kernel:k\t',
        ...['my', 'it', 'sa', 'st', 'q', 'ex', 'back'].map(
          start => `dirtyrate guest --output ${start}\t`,
        ),
        'dirtyrate calc kernel:c\t--quiet',
        'dirtyrate calc kernel:x,initrd=my\t',
      ])
      expect(ran).toEqual([
        ['calc', 'kernel:k$(touch PWNED).elf'],
        ...names.slice(1, -1).map(name => ['guest', '--output', name]),
        // A comma of a name is doubled in a target.
        ['calc', 'kernel:c,,d', '--quiet'],
        ['calc', 'kernel:x,initrd=my file'],
      ])
      expect(existsSync(join(home.path, 'PWNED'))).toBe(false)
    })

    it('completes a word in which a quote is open, and one that is quoted so far', async () => {
      const home = homeOf(shell)
      for (const name of ['k$(touch PWNED).elf', "it's", 'q"uote', 'ex!cl', 'odd name.elf']) {
        writeFileSync(join(home.path, name), '')
      }
      mkdirSync(join(home.path, 'two words/and more'), { recursive: true })
      writeFileSync(join(home.path, "two words/and more/x'y"), '')
      const ran = await typed(shell, home, [
        "dirtyrate calc kernel:'k\t",
        "dirtyrate calc 'kernel:it\t",
        "dirtyrate guest -o 'it\t",
        'dirtyrate guest -o "k\t',
        'dirtyrate guest -o "q\t',
        'dirtyrate guest -o "ex\t',
        'dirtyrate calc kernel:two\\ w\ta\tx\t',
        "dirtyrate guest -o 'two words'/a\tx\t",
        "dirtyrate guest -o odd' n\t",
      ])
      expect(ran).toEqual([
        ['calc', 'kernel:k$(touch PWNED).elf'],
        ['calc', "kernel:it's"],
        ['guest', '-o', "it's"],
        ['guest', '-o', 'k$(touch PWNED).elf'],
        ['guest', '-o', 'q"uote'],
        ['guest', '-o', 'ex!cl'],
        ['calc', "kernel:two words/and more/x'y"],
        ['guest', '-o', "two words/and more/x'y"],
        ['guest', '-o', 'odd name.elf'],
      ])
      expect(existsSync(join(home.path, 'PWNED'))).toBe(false)
    })
  })
}

it('another shell, and a script as a document, are refused', async () => {
  const { status, stderr } = await dirtyrate(['completion', 'bsh'])
  expect(status).toBe(2)
  expect(stderr).toContain("Did you mean 'bash'?")
  const json = await dirtyrate(['completion', 'bash', '--json'])
  expect(json.status).toBe(2)
  expect(JSON.parse(json.stdout).error.message).toBe('--json: completion prints a script')
})
