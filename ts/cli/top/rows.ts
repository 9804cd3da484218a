/** The lines of `top`: what is known of each VM, sorted. */

import type { Link } from '../../metrics/links.js'
import { parseCurve } from '../../prediction/input.js'
import { predict } from '../../prediction/migration.js'
import type { DirtyRateCurve } from '../../results/curve.js'
import type { Figures } from '../../results/measurement.js'
import type { TargetDescription } from '../../targets/target.js'
import type { Rates } from '../rate-unit.js'
import { Table } from '../table.js'
import { clip, measuredSize, visible, widthOf } from '../text.js'

/** What is known of one VM. */
export interface Row {
  readonly label: string
  /** What it has in common with other targets of its VM; undefined if it is the only one. */
  readonly vm: string | undefined
  /** It may be known only later. */
  name: string | undefined
  memoryBytes: number | undefined
  vcpus: number | undefined
  last: Figures | undefined
  /** The last rates, oldest first. */
  readonly rates: number[]
  verdict: string | undefined
  /** What is not as usual: why it is not measured, or what is doubtful. */
  note: string
  /** Whether the last round has failed, so that the figures are old. */
  hasFailed: boolean
}

export const sortings = ['rate', 'name', 'memory', 'vcpus', 'verdict'] as const
export type Sorting = (typeof sortings)[number]

/** So many rates are a trend. */
const TREND = 8
const RATE = 16
const WIDEST_NAME = 40
const BARS = '▁▂▃▄▅▆▇█'
/** A change by less than this part of the rate is none. */
const STEADY = 0.1

export function newRow(label: string, name: string | undefined, vm?: string): Row {
  return {
    label,
    vm,
    name,
    memoryBytes: undefined,
    vcpus: undefined,
    last: undefined,
    rates: [],
    verdict: undefined,
    note: 'waiting for the first window',
    hasFailed: false,
  }
}

export function described(row: Row, { memoryBytes, vcpus }: TargetDescription): void {
  row.memoryBytes = memoryBytes
  row.vcpus = vcpus
}

export function measured(row: Row, result: Figures): void {
  row.last = result
  row.rates.push(result.bytesPerSecond)
  if (row.rates.length > TREND) row.rates.shift()
  row.note = result.warnings.map(({ code }) => code).join(' ')
  row.hasFailed = false
}

/** Predicts a migration from a curve. What nothing can be predicted from has no verdict. */
export function curveMeasured(row: Row, curve: DirtyRateCurve, { wanted }: Link): void {
  const { memoryBytes } = row
  const memory = curve.memory ?? (memoryBytes === undefined ? undefined : { bytes: memoryBytes })
  row.verdict = predict(parseCurve({ ...curve, memory }, 'the curve'), wanted).verdict
}

/**
 * How many VMs there are, and what they dirty together. A VM that several targets name counts once,
 * by the first of them that has a figure. The figure of one that fails now is an old one.
 */
export function together(rows: readonly Row[]): { vms: number; bytesPerSecond: number } {
  const rates = new Map<unknown, number>()
  for (const row of rows) {
    const { vm = row, last, hasFailed } = row
    if (last !== undefined && !hasFailed) rates.set(vm, rates.get(vm) ?? last.bytesPerSecond)
  }
  return {
    vms: new Set(rows.map(row => row.vm ?? row)).size,
    bytesPerSecond: [...rates.values()].reduce((sum, rate) => sum + rate, 0),
  }
}

/** The rows in an order: the largest figures first, and names by the alphabet. */
export function sorted(rows: readonly Row[], by: Sorting): Row[] {
  const figure = (row: Row): number =>
    ({
      rate: row.last?.bytesPerSecond,
      memory: row.memoryBytes,
      vcpus: row.vcpus,
      // What does not migrate is what somebody looks for.
      verdict: ['converges', 'uncertain', 'stalls'].indexOf(row.verdict ?? ''),
      name: 0,
    })[by] ?? -1
  const name = ({ name, label }: Row): string => name ?? label
  return [...rows].sort((a, b) => figure(b) - figure(a) || (name(a) < name(b) ? -1 : 1))
}

/** How the rate has changed: bars, or a word where a terminal has no bars. */
export function trend(rates: readonly number[], bars: boolean): string {
  if (rates.length < 2) return ''
  if (bars) {
    const most = Math.max(...rates)
    const level = (rate: number): number => (most === 0 ? 0 : Math.round((rate / most) * 7))
    return rates.map(rate => BARS[level(rate)]).join('')
  }
  const before = rates.slice(0, -1).reduce((sum, rate) => sum + rate, 0) / (rates.length - 1)
  const last = rates.at(-1) ?? 0
  if (Math.abs(last - before) <= STEADY * before) return 'steady'
  return last > before ? 'rises' : 'falls'
}

/** The table of the rows, whose lines are not wider than `width`. */
export function tableOf(
  rows: readonly Row[],
  { rates, bars, verdicts, width }: TableForm,
): string[] {
  // Beside a name there is room for the rate, however long the name is.
  const widestName = Math.max(6, Math.min(WIDEST_NAME, width - RATE - 2))
  const names = rows.map(row => clip(visible(row.name ?? row.label), widestName))
  const widest = Math.max(6, ...names.map(widthOf))
  const notes = Math.max(4, ...rows.map(({ note }) => widthOf(visible(note))))
  const table = new Table(
    [
      { title: 'VM', width: widest, essential: true, left: true },
      { title: 'rate', width: RATE, essential: true },
      { title: 'trend', width: TREND, left: true },
      ...(verdicts ? [{ title: 'verdict', width: 9 }] : []),
      { title: 'memory', width: 9 },
      { title: 'vCPUs', width: 5 },
      { title: 'interval', width: 28 },
      { title: 'note', width: notes, left: true },
    ],
    text => text,
  )
  const lines = rows.flatMap((row, at) => {
    const { last, memoryBytes, vcpus, verdict = '-', note, hasFailed } = row
    const mark = last !== undefined && !last.complete ? '>= ' : ''
    const cells = [
      names[at] ?? '',
      last === undefined ? '-' : `${mark}${rates.rate(last.bytesPerSecond)}`,
      hasFailed ? 'failed' : trend(row.rates, bars),
      ...(verdicts ? [verdict] : []),
      memoryBytes === undefined ? '-' : measuredSize(memoryBytes),
      vcpus === undefined ? '-' : String(vcpus),
      last === undefined ? '-' : rates.interval(last.interval),
      visible(note),
    ]
    // Why a VM is not measured must be seen also where the table has no column for it.
    const why = hasFailed && table.leftOut(width).titles.includes('note')
    const line = table.row(cells, width)
    return why ? [...line, `  ${visible(note)}`] : line
  })
  return lines.map(line => clip(line, width).trimEnd())
}

export interface TableForm {
  readonly rates: Rates
  /** Whether bars can be shown. */
  readonly bars: boolean
  /** Whether there is a link that verdicts are about. */
  readonly verdicts: boolean
  readonly width: number
}
