/** `dirtyrate doctor`: what this host can measure, and what mends the rest. */

import type { CheckState } from '../host/check.js'
import { diagnose } from '../host/doctor.js'
import { schemes } from '../targets/open.js'
import { EXIT_ENVIRONMENT, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { named } from './table.js'
import { visible } from './text.js'

/** The column in which values begin, behind the longest name. */
const VALUES_BEGIN = 26

/** The word for each state, in the colour of good, bad or doubtful news. */
const WORDS: Readonly<Record<CheckState, readonly ['good' | 'bad' | 'doubtful', string]>> = {
  good: ['good', 'good'],
  limited: ['doubtful', 'limited'],
  missing: ['bad', 'missing'],
  unknown: ['doubtful', 'unknown'],
}

export async function runDoctor(session: Session): Promise<number> {
  session.progress('examining this host')
  const { measurable, targets, checks } = await diagnose(schemes.map(({ name }) => name))
  const show = (name: string, news: 'good' | 'bad' | 'doubtful', word: string, text: string) => {
    const value = `${word}: ${visible(text)}`
    for (const line of named(name, value, VALUES_BEGIN, session.columns))
      session.print(line.replace(`${word}:`, () => session.verdict(news, `${word}:`)))
  }
  for (const { scheme, possible, why } of targets)
    show(`${scheme}:`, possible ? 'good' : 'doubtful', possible ? 'yes' : 'no', why)
  session.print()
  // The device and its group may need the same. Twice it would look like two things to do.
  const said = new Set<string>()
  for (const { name, state, found, mend } of checks) {
    show(name, ...WORDS[state], found)
    if (mend === undefined || said.has(mend)) continue
    said.add(mend)
    session.field('', `-> ${mend}`, VALUES_BEGIN)
  }
  session.document({ measurable, targets, checks })
  return measurable ? EXIT_OK : EXIT_ENVIRONMENT
}
