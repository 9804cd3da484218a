/** The blocks of the README and of docs/, and the programs among them as a user would have them in a file. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../fixtures/command.js'

export interface Fence {
  /** The file that has it. */
  file: string
  language: string
  text: string
}

function fencesOf(file: string): Fence[] {
  const blocks = readFileSync(join(root, file), 'utf8').matchAll(/^```(\w*)\n(.*?)^```$/gms)
  return [...blocks].map(([, language = '', text = '']) => ({ file, language, text }))
}

export const readme: readonly Fence[] = fencesOf('README.md')

const docs = existsSync(join(root, 'docs'))
  ? readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  : []

/** Every program: those of the README, and those of docs/. */
export const programs: readonly Fence[] = [
  ...readme,
  ...docs.filter(name => name.endsWith('.md')).flatMap(name => fencesOf(join('docs', name))),
].filter(({ language }) => language === 'js' || language === 'ts')

/** What goes on from the first program goes on with its VM, here one of so much memory. */
export function programOf({ text }: Fence, memory: string): string {
  if (/^import /m.test(text)) return text
  return `import { VirtualMachine, workload } from 'dirtyrate'
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
