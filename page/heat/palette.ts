/**
 * The colours of the levels. Their lightness rises or falls from one level to the next, so that the
 * map reads without hues too. On a dark page hot is light, and on a light page hot is dark.
 */

import { CLEAN, TOP } from './scale.js'

export type Theme = 'light' | 'dark'

type Rgb = readonly [red: number, green: number, blue: number]

interface Look {
  /** A cell without dirty pages. */
  readonly clean: Rgb
  /** From the faintest to the hottest. */
  readonly stops: readonly Rgb[]
  /** A time of which nothing is known, and the lines through it. */
  readonly nothing: Rgb
  readonly hatch: Rgb
  /** The mark above an incomplete window. */
  readonly incomplete: Rgb
}

const rgb = (hex: string): Rgb => {
  const value = Number.parseInt(hex.slice(1), 16)
  return [value >> 16, (value >> 8) & 0xff, value & 0xff]
}

const LOOKS: Readonly<Record<Theme, Look>> = {
  light: {
    clean: rgb('#f4f6f8'),
    stops: ['#cfe6c4', '#8fd0b4', '#43b0bd', '#2585b5', '#2a569c', '#101c52'].map(rgb),
    nothing: rgb('#ffffff'),
    hatch: rgb('#c9d1da'),
    incomplete: rgb('#9a5b00'),
  },
  dark: {
    clean: rgb('#10161e'),
    stops: ['#27417d', '#23679f', '#279bab', '#5fc49b', '#c3e28f', '#fffbd1'].map(rgb),
    nothing: rgb('#171e27'),
    hatch: rgb('#3a4654'),
    incomplete: rgb('#f0b35a'),
  },
}

/** Colours as `ImageData` has them, and as CSS writes them. */
export interface Palette {
  readonly theme: Theme
  /** One packed colour for each level. */
  readonly levels: Uint32Array
  readonly css: readonly string[]
  readonly nothing: number
  readonly hatch: number
  readonly incomplete: number
}

const made = new Map<Theme, Palette>()

export function paletteOf(theme: Theme): Palette {
  const known = made.get(theme)
  if (known !== undefined) return known
  const { clean, stops, nothing, hatch, incomplete } = LOOKS[theme]
  const colours = Array.from({ length: TOP + 1 }, (_, level) =>
    level === CLEAN ? clean : between(stops, (level - 1) / (TOP - 1)),
  )
  const palette: Palette = {
    theme,
    levels: Uint32Array.from(colours, packed),
    css: colours.map(([red, green, blue]) => `rgb(${red} ${green} ${blue})`),
    nothing: packed(nothing),
    hatch: packed(hatch),
    incomplete: packed(incomplete),
  }
  made.set(theme, palette)
  return palette
}

function between(stops: readonly Rgb[], part: number): Rgb {
  const place = part * (stops.length - 1)
  const at = Math.min(Math.floor(place), stops.length - 2)
  const [from, to] = [stops[at], stops[at + 1]] as [Rgb, Rgb]
  const mixed = from.map((value, channel) =>
    Math.round(value + ((to[channel] ?? value) - value) * (place - at)),
  )
  return mixed as unknown as Rgb
}

/** Red is the first byte in memory, on machines whose numbers begin with their lowest byte. */
const packed = ([red, green, blue]: Rgb): number =>
  ((0xff << 24) | (blue << 16) | (green << 8) | red) >>> 0
