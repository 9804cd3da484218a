/**
 * The states in which an installation may have the platform's binary. It is loaded, or refused with
 * the reason and with what to do.
 */

import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { refused } from '../../ts/ground/load-failure.js'
import { version } from '../../ts/ground/version.js'
import { root, run } from '../fixtures/command.js'

const built = readdirSync(join(root, 'native')).find(name => name.endsWith('.node')) ?? 'none'
const binary = readFileSync(join(root, 'native', built))
const platformPackage = `dirtyrate-linux-${process.arch}-gnu`

/** A folder of its own for one test. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-install-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface Installation {
  /** The bytes of the binary; undefined where the platform's package was not installed. */
  binary?: Uint8Array
}

/**
 * The package as npm installs it, with the platform's package beside it. Gives the folder that has
 * `node_modules`.
 */
function install({ binary }: Installation): string {
  const folder = temporaryFolder()
  const main = join(folder, 'node_modules/dirtyrate')
  cpSync(join(root, 'dist'), join(main, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(main, 'package.json'))
  if (binary !== undefined) {
    const platform = join(folder, 'node_modules', platformPackage)
    mkdirSync(platform)
    writeFileSync(
      join(platform, 'package.json'),
      JSON.stringify({ name: platformPackage, version, main: built }),
    )
    writeFileSync(join(platform, built), binary)
  }
  return folder
}

interface LoadError {
  code: string
  message: string
  hint: string
}

interface Start {
  flags?: readonly string[]
  env?: NodeJS.ProcessEnv
  /** Comes before the package is imported. */
  before?: string
}

/**
 * Uses the binding in a process of its own: how that failed, or undefined. Nothing but the answer
 * may be printed.
 */
async function loaded(
  folder: string,
  { flags = [], env = {}, before = '' }: Start = {},
): Promise<LoadError | undefined> {
  const program = join(folder, 'program.mjs')
  const text = `${before}
const { buildGuest, workload } = await import('dirtyrate')
try {
  buildGuest(workload.stride({ pages: 1 }), { memory: '64MiB' })
  console.log('null')
} catch ({ code, message, hint }) {
  console.log(JSON.stringify({ code, message, hint }))
}
`
  writeFileSync(program, text)
  const without = { NAPI_RS_NATIVE_LIBRARY_PATH: undefined, NODE_OPTIONS: undefined }
  const ended = await run(process.execPath, [...flags, program], { env: { ...without, ...env } })
  expect({ ...ended, stdout: '' }).toEqual({
    status: 0,
    signal: null,
    stdout: '',
    stderr: expect.not.stringContaining('rror'),
  })
  return JSON.parse(ended.stdout) ?? undefined
}

/** The binary for another machine, by its header. */
function forMachine(machine: number): Buffer {
  const other = Buffer.from(binary)
  other.writeUInt16LE(machine, 18)
  return other
}

function withZeroedEnd(): Buffer {
  const damaged = Buffer.from(binary)
  return damaged.fill(0, Math.floor(damaged.length / 2))
}

/**
 * A library of C, by the compiler that the build needs anyway; bound at once when it is loaded, as
 * the binary is.
 */
function compiled(source: string): Buffer {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'library.c'), source)
  const { status } = spawnSync(
    'cc',
    ['-shared', '-fPIC', '-Wl,-z,now', '-o', 'library.so', 'library.c'],
    {
      cwd: folder,
    },
  )
  expect(status).toBe(0)
  return readFileSync(join(folder, 'library.so'))
}

const OTHER_MACHINE = process.arch === 'x64' ? 183 : 62
const OTHER_ARCH = process.arch === 'x64' ? 'arm64' : 'x64'

/** Runs in a mount namespace of its own, where this user may make one. */
const mounting = ['--user', '--map-root-user', '--mount', 'sh', '-ec']
const canMount = spawnSync('unshare', [...mounting, 'mount -t tmpfs x /mnt']).status === 0

/** Only where there is a C compiler: the emulated machines of the rigs have none. */
const compiledCases: [string, () => Uint8Array, RegExp, RegExp][] =
  spawnSync('cc', ['--version']).status === 0
    ? [
        [
          'needs a function that there is not',
          () =>
            compiled(
              'extern void no_such_function(void); __attribute__((constructor)) void f(void) { no_such_function(); }',
            ),
          /undefined symbol: no_such_function/,
          /glibc 2.17 or later/,
        ],
        [
          'is no addon',
          () => compiled('int answer = 42;'),
          /did not self-register/,
          /install again/,
        ],
      ]
    : []

describe('the binary of the platform package', () => {
  it('is loaded', async () => {
    expect(await loaded(install({ binary }))).toBeUndefined()
  })

  it.each<[string, () => Uint8Array, RegExp, RegExp]>([
    [
      'is text',
      () => Buffer.from('not an ELF'),
      /file too short|invalid ELF header/,
      /Remove .* install again/,
    ],
    ['is empty', () => Buffer.alloc(0), /file too short/, /Remove .* install again/],
    [
      'is all zeros',
      () => Buffer.alloc(binary.length),
      /invalid ELF header/,
      /Remove .* install again/,
    ],
    [
      'is cut off after its header',
      () => binary.subarray(0, 200),
      /is cut off: it has 200 of \d+ bytes/,
      /install again/,
    ],
    [
      'is cut off in the middle',
      () => binary.subarray(0, binary.length / 2),
      /is cut off/,
      /install again/,
    ],
    ['lacks its last byte', () => binary.subarray(0, -1), /is cut off/, /install again/],
    ['was never written to its end', withZeroedEnd, /its end is all zeros/, /install again/],
    [
      'is for another architecture',
      () => forMachine(OTHER_MACHINE),
      new RegExp(
        `is for ${OTHER_ARCH}, and this is ${process.arch}: .*(cannot open shared object|ELF)`,
      ),
      /install again/,
    ],
    ...compiledCases,
  ])('that %s', async (_, content, reason, hint) => {
    const error = await loaded(install({ binary: content() }))
    expect(error).toMatchObject({
      code: 'ERR_NATIVE_LOAD',
      message: expect.stringMatching(reason),
      hint: expect.stringMatching(hint),
    })
    expect(error?.message).toContain(join('node_modules', platformPackage, built))
  })

  it('that is not installed is named, with the command that installs it', async () => {
    const error = await loaded(install({}))
    expect(error?.message).toMatch(
      new RegExp(
        `linux-\\w+ \\(glibc [\\d.]+\\): expected the package ${platformPackage}: Cannot find`,
      ),
    )
    expect(error?.hint).toContain(`npm install ${platformPackage}@${version}`)
  })

  it('that has no file of that name is said to be incomplete', async () => {
    const folder = install({ binary })
    rmSync(join(folder, 'node_modules', platformPackage, built))
    const error = await loaded(folder)
    expect(error?.message).toContain(`Cannot find module`)
    expect(error?.hint).toContain(`npm install ${platformPackage}@${version}`)
  })

  it('of another version is refused, with both versions', async () => {
    const folder = install({ binary })
    const dist = join(folder, 'node_modules/dirtyrate/dist/ground/version.js')
    writeFileSync(dist, readFileSync(dist, 'utf8').replace(version, '9.8.7'))
    const error = await loaded(folder)
    expect(error?.message).toContain(
      `is of version ${version}, and this package is dirtyrate 9.8.7`,
    )
    expect(error?.hint).toContain('npm install dirtyrate@9.8.7')
  })

  it.runIf(canMount)('on a file system that is mounted noexec', async () => {
    const folder = install({ binary })
    const mount = `mount -t tmpfs -o noexec x "$0" && cp "$1" "$0" && exec "$2" program.mjs`
    const packaged = join(folder, 'node_modules', platformPackage)
    const file = join(folder, built)
    writeFileSync(file, binary)
    writeFileSync(
      join(folder, 'program.mjs'),
      `import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
writeFileSync('${packaged}/package.json', '{ "name": "${platformPackage}", "main": "${built}" }')
createRequire(import.meta.url)('dirtyrate').capabilities()`,
    )
    const ended = spawnSync('unshare', [...mounting, mount, packaged, file, process.execPath], {
      cwd: folder,
      env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: undefined },
      encoding: 'utf8',
    })
    expect(ended.stderr).toMatch(/failed to map segment/)
    expect(ended.stderr).toMatch(/hint: '.*noexec/)
  })

  it('in a clone is built again', async () => {
    const folder = install({ binary })
    mkdirSync(join(folder, 'node_modules/dirtyrate/native'))
    writeFileSync(join(folder, 'node_modules/dirtyrate/native', built), 'not an ELF')
    expect((await loaded(folder))?.hint).toContain('npm run setup')
  })
})

describe('what keeps Node from loading any addon', () => {
  it.each<[string, Start, string]>([
    ['--no-addons', { flags: ['--no-addons'] }, 'without --no-addons'],
    [
      '--no-addons in NODE_OPTIONS',
      { env: { NODE_OPTIONS: '--no-addons' } },
      'without --no-addons',
    ],
    [
      'the permission model',
      {
        flags: [
          process.allowedNodeEnvironmentFlags.has('--permission')
            ? '--permission'
            : '--experimental-permission',
          '--allow-fs-read=*',
        ],
      },
      '--allow-addons',
    ],
  ])('%s', async (_, start, hint) => {
    const error = await loaded(install({ binary }), start)
    expect(error).toMatchObject({
      code: 'ERR_NATIVE_LOAD',
      message: expect.stringContaining('loading addons is disabled'),
      hint: expect.stringContaining(hint),
    })
  })
})

describe('a package that is a link into a store', () => {
  it.each([[], ['--preserve-symlinks'], ['--preserve-symlinks', '--preserve-symlinks-main']])(
    'finds the binary there, with the flags %j',
    async (...flags) => {
      const store = install({ binary })
      const folder = temporaryFolder()
      mkdirSync(join(folder, 'node_modules'))
      symlinkSync(join(store, 'node_modules/dirtyrate'), join(folder, 'node_modules/dirtyrate'))
      expect(await loaded(folder, { flags: flags.flat() })).toBeUndefined()
    },
  )
})

describe('the file that NAPI_RS_NATIVE_LIBRARY_PATH names', () => {
  const naming = (file: string): Start => ({ env: { NAPI_RS_NATIVE_LIBRARY_PATH: file } })

  it('is the one that is loaded', async () => {
    const folder = install({})
    const library = join(folder, 'named.node')
    writeFileSync(library, binary)
    expect(await loaded(folder, naming(library))).toBeUndefined()
  })

  // The rigs have no package beside ours that has an addon.
  const addons = join(root, 'node_modules/@rolldown')
  it.runIf(existsSync(addons))(
    'is refused when it is the addon of another package, and the variable is named',
    async () => {
      const other = readdirSync(addons, { recursive: true, encoding: 'utf8' })
        .map(name => join(addons, name))
        .find(name => name.endsWith('.node'))
      expect(other).toBeDefined()
      const error = await loaded(install({ binary }), naming(other ?? ''))
      expect(error?.message).toMatch(
        /is the binding of something else: it exports \w+.*NAPI_RS_NATIVE_LIBRARY_PATH/,
      )
      expect(error?.hint).toContain('Unset NAPI_RS_NATIVE_LIBRARY_PATH')
    },
  )

  it.each(['/no/such/file.node', '/dev/null'])('is refused when it is %s', async file => {
    const error = await loaded(install({ binary }), naming(file))
    expect(error).toMatchObject({
      code: 'ERR_NATIVE_LOAD',
      message: expect.stringContaining(`${file}`),
    })
    expect(error?.message).toContain('NAPI_RS_NATIVE_LIBRARY_PATH')
    expect(error?.hint).toContain('Unset NAPI_RS_NATIVE_LIBRARY_PATH')
  })

  it.each([{ NAPI_RS_FORCE_WASI: 'error' }, { NAPI_RS_WASI_FLAVOR: 'x' }])(
    'is the only variable of napi-rs that counts: %j does not',
    async env => expect(await loaded(install({ binary }), { env })).toBeUndefined(),
  )
})

describe('a runtime that grants little', () => {
  /** As Deno does without its flags. */
  const deny = (object: string, name: string, flag: string): string => `
Object.defineProperty(${object}, '${name}', {
  get() { throw Object.assign(new Error('Requires access, run again with the ${flag} flag'), { name: 'NotCapable' }) },
})`

  it('is not asked for its report, which looks up the name of every peer of an open socket', async () => {
    const before = deny('process', 'report', '--allow-sys')
    expect(await loaded(install({ binary }), { before })).toBeUndefined()
    expect((await loaded(install({}), { before }))?.message).toContain('glibc')
  })

  it('is asked for no variable that it does not grant', async () => {
    const before = `process.env = new Proxy(process.env, {
  get(env, name) {
    if (String(name).startsWith('NAPI')) throw new Error('run again with the --allow-env flag')
    return env[name]
  },
})`
    expect(await loaded(install({ binary }), { before })).toBeUndefined()
  })

  it('is named the flag that it asks for', () => {
    const cause = new Error('Requires ffi access to "/a.node", run again with the --allow-ffi flag')
    expect(refused('/a.node', 'package', { cause })).toMatchObject({
      message: expect.stringContaining('run again with the --allow-ffi flag'),
      hint: expect.stringContaining('--allow-ffi'),
    })
  })
})

it('a process without a free descriptor is told its limit', async () => {
  const program = `import { openSync } from 'node:fs'
import { capabilities } from 'dirtyrate'
try { for (;;) openSync('/dev/null') } catch {}
try { capabilities() } catch ({ code, message, hint }) { console.log(JSON.stringify({ code, message, hint })) }`
  const line = 'ulimit -n 100; exec "$0" --input-type=module --eval "$1"'
  const { stdout, stderr } = await run('bash', ['-c', line, process.execPath, program])
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual({
    code: 'ERR_NATIVE_LOAD',
    message: expect.stringMatching(/too many open files/i),
    hint: expect.stringContaining('ulimit -n'),
  })
})

describe('the words of a loader', () => {
  it.each([
    ['/a.node: cannot open shared object file: Too many open files', 'ulimit -n'],
    ['version `GLIBC_2.99 not found', 'glibc 2.17'],
    ['failed to map segment from shared object: Operation not permitted', 'noexec'],
    [
      'Error loading shared library ld-linux-x86-64.so.2: No such file or directory',
      'with glibc, only',
    ],
    ['/a.node: cannot open shared object file: Permission denied', 'read the file'],
    ['failed to map segment from shared object: Cannot allocate memory', 'ulimit -v'],
  ])('%s', (words, hint) => {
    const error = refused('/a.node', 'package', {
      cause: new Error(`${words}\nRequire stack:\n- x`),
    })
    expect(error.message).toMatch(new RegExp(`${words.slice(-20)}$`))
    expect(error.hint).toContain(hint)
  })
})
