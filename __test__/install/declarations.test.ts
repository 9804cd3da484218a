/**
 * A user's package exports values whose types come from the installed package, and its declarations
 * can name these types, in the oldest TypeScript that the README states and in the newest. The
 * programs of the README compile under the strictest options.
 */

import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { programOf, programs } from './docs.js'
import { platformPackage, tarball, UserFolder } from './installed.js'
import { installTools } from './tools.js'

/** With the types of Node of the same time. */
const oldest = new UserFolder()
const newest = new UserFolder()
afterAll(() => {
  oldest.remove()
  newest.remove()
})

let tools: string

beforeAll(async () => {
  tools = installTools()
  for (const [user, nodeTypes] of [
    [oldest, join(tools, 'node-types-oldest')],
    [newest, join(root, 'node_modules/@types/node')],
  ] as const) {
    await user.shell(
      `npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`,
    )
    mkdirSync(join(user.project, 'node_modules/@types'))
    cpSync(nodeTypes, join(user.project, 'node_modules/@types/node'), { recursive: true })
  }
  cpSync(
    join(root, 'node_modules/undici-types'),
    join(newest.project, 'node_modules/undici-types'),
    {
      recursive: true,
    },
  )
}, 600_000)

/** As a library has them that others use from either kind of module. */
const STRICT = {
  target: 'es2022',
  lib: ['es2022'],
  types: ['node'],
  strict: true,
  declaration: true,
  emitDeclarationOnly: true,
  outDir: 'out',
  skipLibCheck: false,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedParameters: true,
}

/** A TypeScript, in the folder of a user who has it: compiles `files`, and gives what it says. */
async function compile(
  [user, typescript]: readonly [UserFolder, string],
  files: readonly string[],
  options: Record<string, unknown>,
): Promise<string> {
  user.write('tsconfig.json', JSON.stringify({ compilerOptions: { ...STRICT, ...options }, files }))
  const { stdout, stderr } = await user.run('node', [join(typescript, 'bin/tsc'), '-p', '.'])
  return stdout + stderr
}

const withOldest = (): [UserFolder, string] => [oldest, join(tools, 'typescript-oldest')]
const withNewest = (): [UserFolder, string] => [newest, join(root, 'node_modules/typescript')]

it('the oldest TypeScript is the one that the README states', () => {
  const { version } = JSON.parse(
    readFileSync(join(tools, 'typescript-oldest/package.json'), 'utf8'),
  )
  const [, stated] =
    /TypeScript from ([\d.]+) on/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []
  expect(version.split('.').slice(0, 2).join('.')).toBe(stated)
})

describe.each([
  ['the oldest TypeScript', withOldest],
  ['the newest TypeScript', withNewest],
])('%s', (_, typescript) => {
  it('names the type of everything that a call gives', async () => {
    const [user] = typescript()
    const generate = join(root, '__test__/install/export-everything.cjs')
    const generated = await user.run('node', [
      generate,
      join(tools, 'typescript-api'),
      'everything.mts',
    ])
    expect(generated).toMatchObject({ status: 0, stderr: '' })
    const text = readFileSync(join(user.project, 'everything.mts'), 'utf8')
    for (const name of [
      'result_capabilities',
      'VirtualMachine_blocks',
      'DirtyMemory_reap_result',
      'Reap_ring',
    ]) {
      expect(text).toContain(`export const ${name} = `)
    }
    const module = { module: 'nodenext', moduleResolution: 'nodenext' }
    expect(
      await compile(typescript(), ['everything.mts'], {
        ...module,
        exactOptionalPropertyTypes: false,
      }),
    ).toBe('')
  })

  it('takes undefined for every option', async () => {
    const [user] = typescript()
    user.write('options.mts', OPTIONS)
    const module = { module: 'nodenext', moduleResolution: 'nodenext' }
    expect(await compile(typescript(), ['options.mts'], module)).toBe('')
  })

  it.each([
    ['node16', 'mts'],
    ['node16', 'cts'],
    ['node', 'ts'],
    ['bundler', 'ts'],
  ])('resolves them by %s in a .%s', async (moduleResolution, extension) => {
    const isOldest = typescript()[0] === oldest
    // The oldest has no `bundler`, and the newest has no `node` any more.
    if (moduleResolution === (isOldest ? 'bundler' : 'node')) return
    const [user] = typescript()
    const file = `${moduleResolution}.${extension}`
    user.write(file, USE)
    const module = { node16: 'node16', node: 'commonjs', bundler: 'esnext' }[moduleResolution]
    expect(await compile(typescript(), [file], { module, moduleResolution })).toBe('')
  })
})

it('a user of JavaScript who checks it finds the types, and a wrong name is an error', async () => {
  newest.write(
    'checked.mjs',
    `// @ts-check
import { VirtualMachine } from 'dirtyrate'
/** @param {import('dirtyrate').MeasureOptions} options */
export const measure = async options => (await VirtualMachine.create({ memory: '1GiB' })).measureDirtyRate(options)
// @ts-expect-error: no such option
await measure({ windw: '1s' })
`,
  )
  const options = {
    module: 'nodenext',
    moduleResolution: 'nodenext',
    allowJs: true,
    checkJs: true,
    strict: true,
  }
  expect(await compile(withNewest(), ['checked.mjs'], options)).toBe('')
})

it('isolated declarations and verbatim modules', async () => {
  newest.write('isolated.mts', ISOLATED)
  const options = {
    isolatedDeclarations: true,
    verbatimModuleSyntax: true,
    erasableSyntaxOnly: true,
  }
  const module = { module: 'nodenext', moduleResolution: 'nodenext' }
  expect(await compile(withNewest(), ['isolated.mts'], { ...module, ...options })).toBe('')
})

describe('the programs of the README and of docs/ under the strictest options', () => {
  it.each(programs)('$file: $text', async fence => {
    newest.write('program.mts', programOf(fence, '1GiB'))
    const module = { module: 'nodenext', moduleResolution: 'nodenext' }
    expect(await compile(withNewest(), ['program.mts'], module)).toBe('')
  })
})

/** Every option of every interface as undefined, and the one that is required as it is. */
const OPTIONS = `
import type * as api from 'dirtyrate'

type Optional<T> = { [Key in keyof T]-?: {} extends Pick<T, Key> ? Key : never }[keyof T]
/** T with each option that may be left out as undefined. */
type Undefined<T> = { [Key in keyof T]: Key extends Optional<T> ? undefined : T[Key] }
declare function undefinedFor<T>(): Undefined<T>

export const create: api.CreateOptions = undefinedFor<api.CreateOptions>()
export const measure: api.MeasureOptions = undefinedFor<api.MeasureOptions>()
export const curve: api.CurveOptions = undefinedFor<api.CurveOptions>()
export const watch: api.WatchOptions = undefinedFor<api.WatchOptions>()
export const sampling: api.SamplingOptions = undefinedFor<api.SamplingOptions>()
export const open: api.OpenOptions = undefinedFor<api.OpenOptions>()
export const guest: api.WorkloadOptions = undefinedFor<api.WorkloadOptions>()
export const machine: api.GuestMachine = undefinedFor<api.GuestMachine>()
export const kernel: api.KernelImage = undefinedFor<api.KernelImage>()
export const calc: api.CalcDirtyRateArguments = undefinedFor<api.CalcDirtyRateArguments>()
export const query: api.QueryDirtyRateArguments = undefinedFor<api.QueryDirtyRateArguments>()

export async function calls(vm: api.VirtualMachine): Promise<void> {
  const { dirtyMemory } = vm
  await dirtyMemory.sync({ signal: undefined })
  await dirtyMemory.discardInitialLog({ signal: undefined })
  await dirtyMemory.syncAt('migration', ['1s'], { signal: undefined })
  await dirtyMemory.readBitmap('migration', 'ram', new BigUint64Array(1), { take: undefined })
  await dirtyMemory.ranges('migration', 'ram', { from: undefined, limit: undefined })
  await vm.workload?.settled({ signal: undefined })
}
`

const USE = `
import { capabilities, type ErrorCode, VirtualMachine, workload } from 'dirtyrate'

export const code: ErrorCode = 'ERR_NATIVE_LOAD'
// @ts-expect-error: no such code
export const wrong: ErrorCode = 'ERR_NONE'

export async function use() {
  const vm = await VirtualMachine.create({ memory: '1GiB', signal: undefined })
  await vm.load(workload.idle())
  for await (const { pages = 0 } of vm.watchDirtyRate()) {
    const runs: Uint32Array = await vm.dirtyMemory.ranges('migration', 'ram')
    const regions = new Uint32Array(512)
    await vm.dirtyMemory.heat('migration', 'ram', regions)
    if (pages > runs.length) break
  }
  return { vm, kvm: capabilities(), reap: vm.dirtyMemory.reap('migration') }
}
`

const ISOLATED = `
import { type Capabilities, capabilities, type DirtyRateWatch, type Reap, type VirtualMachine } from 'dirtyrate'

export const kvm: Capabilities = capabilities()
export const watch = (vm: VirtualMachine): DirtyRateWatch => vm.watchDirtyRate()
export const reap = (vm: VirtualMachine): Promise<Reap> => vm.dirtyMemory.reap('dirty-rate')
`
