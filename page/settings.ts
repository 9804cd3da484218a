/** What the user has chosen, which the browser keeps. */

import type { Theme } from './heat/palette.js'
import type { Link } from './prediction/tasks.js'

export type ThemeChoice = Theme | 'auto'

const PREFIX = 'dirtyrate.'

/** The link of the docs. */
export const DEFAULT_LINK: Link = { bytesPerSecond: 1.25e9, downtimeMs: 300 }

export function keptLink(): Link {
  const { bytesPerSecond, downtimeMs } = Object(kept('link')) as Partial<Link>
  const isNumber = (value: unknown): value is number =>
    typeof value === 'number' && Number.isFinite(value) && value > 0
  return isNumber(bytesPerSecond) && isNumber(downtimeMs)
    ? { bytesPerSecond, downtimeMs }
    : DEFAULT_LINK
}

export function keepLink(link: Link): void {
  keep('link', link)
}

export function keptTheme(): ThemeChoice {
  const theme = kept('theme')
  return theme === 'light' || theme === 'dark' ? theme : 'auto'
}

export function keepTheme(theme: ThemeChoice): void {
  keep('theme', theme)
}

/** The theme that a choice means now. */
export function themeOf(choice: ThemeChoice): Theme {
  if (choice !== 'auto') return choice
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'
}

/** A browser may forbid to keep anything. */
function kept(name: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? 'null')
  } catch {
    return null
  }
}

function keep(name: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value))
  } catch {
    // Then the choice is for this page only.
  }
}
