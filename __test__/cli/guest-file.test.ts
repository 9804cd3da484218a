/** `guest -o` writes the file completely, or leaves what was there before. */

import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shellWord } from '../../ts/cli/text.js'
import { dirtyrate, type Ended, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

/** A line of bash in which $D is the command, $1 a file. */
const shell = (line: string, file: string): Promise<Ended> =>
  run('bash', ['-c', `D="$0 dist/cli.js"; ${line}`, process.execPath, file])
/** `ulimit -f 8` allows 8 KiB, and a guest takes more. */
const large = ['guest', '--pages', '10']

describe('a guest as a file', () => {
  it('that does not fit the limit on files is no file', async () => {
    const file = join(dirname(folder()('x', '')), 'guest.elf')
    const { status, stderr } = await shell(`ulimit -f 8; $D ${large.join(' ')} -o "$1"`, file)
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `dirtyrate: -o: '${file}' cannot be written: file too large (EFBIG)\nThis shell limits the size of files: raise it with ulimit -f.\n`,
    })
    expect(readdirSync(dirname(file))).toEqual(['x'])
  })

  it('that does not fit leaves what was there before', async () => {
    const file = folder()('guest.elf', 'before')
    expect((await shell(`ulimit -f 8; $D ${large.join(' ')} -o "$1"`, file)).status).toBe(2)
    expect(readFileSync(file, 'utf8')).toBe('before')
    expect(readdirSync(dirname(file))).toEqual(['guest.elf'])
  })

  it('replaces one that is there, with its mode, and behind a link', async () => {
    const file = folder()('guest.elf', 'before')
    chmodSync(file, 0o640)
    const link = join(dirname(file), 'link')
    symlinkSync('guest.elf', link)
    expect((await dirtyrate(['guest', '--pages', '10', '-o', link])).status).toBe(0)
    expect(readFileSync(file).subarray(1, 4).toString()).toBe('ELF')
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
  })

  it('is made behind a link whose file is not there yet', async () => {
    const folderOfLinks = dirname(folder()('x', ''))
    const at = (name: string): string => join(folderOfLinks, name)
    mkdirSync(at('there'))
    symlinkSync('there/guest.elf', at('first'))
    symlinkSync('first', at('second'))
    expect((await dirtyrate(['guest', '--pages', '10', '-o', at('second')])).status).toBe(0)
    expect(readFileSync(at('there/guest.elf')).subarray(1, 4).toString()).toBe('ELF')
    for (const link of ['first', 'second']) expect(lstatSync(at(link)).isSymbolicLink()).toBe(true)
    symlinkSync('circle', at('circle'))
    const { status, stderr } = await dirtyrate(['guest', '--pages', '10', '-o', at('circle')])
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('(ELOOP)') })
    expect(lstatSync(at('circle')).isSymbolicLink()).toBe(true)
  })

  it.each(['$D guest --pages 10 -o /dev/stdout >"$1"', '$D guest --pages 10 -o "$1" >"$1"'])(
    'is not written where the result is printed: %s',
    async line => {
      const file = folder()('out', '')
      const { status, stderr } = await shell(line, file)
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: expect.stringContaining(
          'is the standard output, where this command prints its result',
        ),
      })
      expect(readFileSync(file, 'utf8')).toBe('')
    },
  )

  it('goes into a pipe or a device as it is', async () => {
    const fifo = `${folder()('x', '')}.fifo`
    const { status, stdout } = await shell(
      `mkfifo "$1"; { head -c 4; cat >/dev/null; } <"$1" & $D guest --pages 10 -o "$1" --json >/dev/null; echo $?; wait`,
      fifo,
    )
    expect({ status, stdout: stdout.split('').sort().join('') }).toEqual({
      status: 0,
      stdout: '0\n\x7fELF'.split('').sort().join(''),
    })
    const unread = await dirtyrate(['guest', '--pages', '10', '-o', fifo])
    expect(unread).toMatchObject({ status: 2, stderr: expect.stringContaining('(ENXIO)\n') })
    expect((await dirtyrate(['guest', '--pages', '10', '-o', '/dev/null'])).status).toBe(0)
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true)
    const full = await dirtyrate(['guest', '--pages', '10', '-o', '/dev/full'])
    expect(full).toMatchObject({ status: 2, stdout: '' })
    expect(full.stderr).toMatch(
      /^dirtyrate: -o: '\/dev\/full' cannot be written: no space left on device/,
    )
  })

  it.each([
    ['a folder', (path: string) => mkdirSync(path), 'illegal operation on a directory (EISDIR)'],
    ['below a file', (path: string) => path, 'no such file or directory (ENOENT)'],
  ])('is refused where there is %s', async (name, prepare, reason) => {
    const path = join(
      dirname(folder()('x', '')),
      name === 'a folder' ? 'there' : 'nowhere/guest.elf',
    )
    prepare(path)
    const { status, stderr } = await dirtyrate(['guest', '--pages', '10', '-o', path])
    expect({ status, line: stderr.split('\n')[0] }).toEqual({
      status: 2,
      line: `dirtyrate: -o: '${path}' cannot be written: ${reason}`,
    })
  })

  it('is refused under a name that is none', async () => {
    for (const name of ['-', '']) {
      const { status, stdout } = await dirtyrate(['guest', '--pages', '10', '-o', name, '--json'])
      expect(status).toBe(2)
      expect(JSON.parse(stdout).error.message).toBe(`-o: '${name}' is no file's name`)
    }
    expect(existsSync('-')).toBe(false)
  })

  it.each(['a b', "it's", '$HOME', '-x', 'a\nb', '~', 'a=b', 'ä', '"', 'a\\b', '*', '#', 'a;b'])(
    'in a file called %j has a command that a shell understands',
    async name => {
      const file = join(dirname(folder()('x', '')), name)
      const { status, stdout } = await dirtyrate(['guest', '--pages', '10', '-o', file])
      expect(status).toBe(0)
      const lines = stdout.trimEnd().split('\n')
      expect(lines).toHaveLength(2)
      const command = lines[1]?.replace(/^Boot it with: qemu-system-\w+ /, '') ?? ''
      const words = await run('bash', ['-c', `printf '%s\\0' ${command}`])
      expect(words.stdout.split('\0').at(-2)).toBe(file)
      // And alone.
      const alone = await run('bash', ['-c', `printf %s ${shellWord(name)}`])
      expect(alone.stdout).toBe(name)
    },
  )
})
