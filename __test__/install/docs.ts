/**
 * The blocks of the README and of docs/, and the programs among them as a user would have them in a
 * file.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../fixtures/command.js'

export interface Fence {
  /** The page that has the block. */
  file: string
  language: string
  text: string
  /** The block that follows a program directly: what the program prints. */
  prints?: string
}

/** The README, and every page of docs/. */
export const pages: readonly string[] = [
  'README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .sort()
    .map(name => join('docs', name)),
]

const isProgram = ({ language }: Fence): boolean => language === 'js' || language === 'ts'

function fencesOf(file: string): Fence[] {
  const found = [...readFileSync(join(root, file), 'utf8').matchAll(/^```(\w*)\n(.*?)^```$/gms)]
  return found.map((match, at) => {
    const [block, language = '', text = ''] = match
    const fence = { file, language, text }
    const next = found[at + 1]
    // Only an empty line stands between a program and its output.
    const follows = next !== undefined && next.index === match.index + block.length + 2
    return isProgram(fence) && follows && next[1] === 'text'
      ? { ...fence, prints: next[2] ?? '' }
      : fence
  })
}

/** Every block of every page. */
export const fences: readonly Fence[] = pages.flatMap(fencesOf)

/** What the package exports: each name, and whether it is only a type. */
const names = [
  ...readFileSync(join(root, 'ts/index.ts'), 'utf8').matchAll(/export (type )?\{([^}]*)\}/g),
].flatMap(([, type, list = '']) =>
  list
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
    .map(name => ({
      name: name.replace('type ', ''),
      isType: type !== undefined || name.startsWith('type '),
    })),
)

/** The functions, classes and values that the package exports. */
export const exported: readonly string[] = names
  .filter(({ isType }) => !isType)
  .map(({ name }) => name)

export interface Documented {
  file: string
  /** What the comment is about. */
  name: string
  /** Its example, if it has one. */
  example: string | undefined
}

const DOCUMENTED =
  /\/\*\*((?:(?!\*\/).)*)\*\/\s*(export )?(?:static )?(?:async )?(?:function |class |const )?(\w+)/gs

function documentedIn(file: string): Documented[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(DOCUMENTED)]
    .filter(
      ([, , isExported, name = '']) =>
        isExported === undefined || names.some(known => known.name === name),
    )
    .map(([, comment = '', , name = '']) => {
      const [, example] = /@example\n[ *]*```ts\n(.*?)\n[ *]*```/s.exec(comment) ?? []
      return { file, name, example: example?.replaceAll(/^ *\* ?/gm, '') }
    })
}

/** What has a comment in ts/, apart from what a module exports and the package does not. */
export const documented: readonly Documented[] = readdirSync(join(root, 'ts'), {
  recursive: true,
  encoding: 'utf8',
})
  .filter(name => name.endsWith('.ts'))
  .sort()
  .flatMap(name => documentedIn(join('ts', name)))

/** Every program: those of the pages, and the examples in comments. */
export const programs: readonly Fence[] = [
  ...fences.filter(isProgram),
  ...documented.flatMap(({ file, example }) =>
    example === undefined ? [] : [{ file, language: 'ts', text: example }],
  ),
]

/** A program without an `import` goes on with the VM of the guide, here one of so much memory. */
export function programOf({ text }: Fence, memory: string): string {
  if (/^import /m.test(text)) return text
  const called = exported.filter(name => text.includes(`${name}(`))
  return `import { ${['VirtualMachine', 'workload', ...called].join(', ')} } from 'dirtyrate'
const vm = await VirtualMachine.create({ memory: '${memory}' })
try {
  await vm.load(workload.stride({ pages: 1000, rate: '10MiB/s' }))
  await vm.start()
${text}
} finally {
  await vm.close()
}
`
}

/**
 * What of a line does not change from run to run: figures do, and with them the width of columns.
 */
export const lasting = (line: string): string =>
  line
    .replace(/\d[\d,.]*/g, 'N')
    .replace(/\s+/g, ' ')
    .trim()

/** The lines of a text as {@link lasting} has them, without empty ones. */
export const lastingLines = (text: string): string[] =>
  text
    .split('\n')
    .map(lasting)
    .filter(line => line !== '')
