/**
 * The check of widths: prose in comments and in Markdown is held, and what cannot be broken is not.
 */

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../fixtures/command.js'

const { tooLong }: { tooLong(file: string, text: string): number[] } = await import(
  join(root, 'scripts/lint/widths.mjs')
)

/** Words of nine letters, with spaces between them, to so many columns at least. */
const words = (columns: number): string => 'abcdefghi '.repeat(Math.ceil(columns / 10))

it.each([
  ['a.ts', `// ${words(101)}`, [1]],
  ['a.ts', `// ${words(80)}`, []],
  ['a.ts', `/** ${words(101)} */`, [1]],
  ['a.ts', `const a = 1\n   * ${words(101)}`, [2]],
  ['a.mjs', `//   node ${words(101)}`, []],
  ['a.ts', `const text = '${words(101)}'`, []],
  ['a.ts', `// ${'x'.repeat(200)}`, []],
  ['a.rs', `/// ${words(101)}`, []],
  ['a.rs', `/// ${words(121)}`, [1]],
  ['a.rs', `//! | ${words(121)} |`, []],
  ['a.rs', `//! \`\`\`\n//! ${words(121)}\n//! \`\`\`\n//! ${words(121)}`, [4]],
  ['a.ts', ` * \`\`\`ts\n * ${words(121)}\n * \`\`\`\n`, []],
  ['a.sh', `# ${words(101)}`, [1]],
  ['.ci/run', `# ${words(101)}`, [1]],
  ['a.md', words(101), [1]],
  ['a.md', `- ${words(101)}`, [1]],
  ['a.md', `| ${words(101)} |`, []],
  ['a.md', `\`\`\`\n${words(101)}\n\`\`\`\n${words(101)}`, [4]],
  ['a.md', `[link]: ${words(101)}`, []],
  ['a.svg', words(101), []],
])('in %s: %j is too long in %j', (file, text, lines) => {
  expect(tooLong(file, text)).toEqual(lines)
})
