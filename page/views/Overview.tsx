/** All VMs, one in a row. */

import { useEffect, useReducer, useRef, useState } from 'preact/hooks'
import {
  type Verdict as VerdictWord,
  verdicts as verdictWords,
} from '../../ts/prediction/figure.js'
import { Sparkline } from '../charts/Sparkline.js'
import { intervalText, memory, rateParts, safe } from '../format.js'
import type { Link } from '../prediction/tasks.js'
import { useVerdicts } from '../prediction/use-prediction.js'
import type { Vm } from '../state/state.js'
import { type Trend, trendOf } from '../state/trend.js'
import { LinkControls } from './LinkControls.js'
import { Name } from './Name.js'
import { vmLink } from './routes.js'
import { NO_VERDICT, Verdict } from './Verdict.js'
import { type Sight, STATUS_SIGNS, statusOf } from './vm-status.js'

type Column = 'name' | 'rate' | 'trend' | 'verdict' | 'memory'

interface Sorting {
  readonly column: Column
  readonly isDescending: boolean
}

interface Row {
  readonly vm: Vm
  readonly trend: Trend
  readonly verdict: VerdictWord | undefined
  /** Why the curve has no verdict. */
  readonly why: string | undefined
}

/** Rows that jump cannot be read, so the order changes no more often than this. */
const SORT_MS = 2000

interface OverviewProps {
  readonly vms: readonly Vm[]
  readonly now: number
  readonly sight: Sight
  readonly link: Link
  readonly changeLink: (link: Link) => void
}

export function Overview({ vms, now, sight, link, changeLink }: OverviewProps) {
  const verdicts = useVerdicts(vms, link)
  const [sorting, setSorting] = useState<Sorting>({ column: 'rate', isDescending: true })
  const rows = vms.map((vm): Row => {
    const answer = verdicts.get(vm.target)
    const verdict = answer !== undefined && 'verdict' in answer ? answer.verdict : undefined
    const why = answer !== undefined && 'why' in answer ? answer.why : undefined
    return { vm, trend: trendOf(vm.moments), verdict, why }
  })
  const isHeld = useRef(false)
  const order = useSteadyOrder(rows, sorting, isHeld)
  const hold = (held: boolean) => () => {
    isHeld.current = held
  }
  return (
    <section class="card overview" aria-labelledby="vms">
      <header class="card-head">
        <h1 id="vms">
          {vms.length} {vms.length === 1 ? 'VM' : 'VMs'}
        </h1>
        <p class="quiet">The verdict is for one live migration over this link.</p>
      </header>
      <LinkControls link={link} change={changeLink} />
      <div class="scroll">
        <table
          class="vms"
          onPointerEnter={hold(true)}
          onPointerLeave={hold(false)}
          onFocusIn={hold(true)}
          onFocusOut={hold(false)}
        >
          <thead>
            <tr>
              <Head column="name" label="VM" sorting={sorting} sort={setSorting} />
              <Head column="rate" label="dirty rate" sorting={sorting} sort={setSorting} isNumber />
              <Head column="trend" label="trend" sorting={sorting} sort={setSorting} />
              <Head column="verdict" label="verdict" sorting={sorting} sort={setSorting} />
              <Head column="memory" label="memory" sorting={sorting} sort={setSorting} isNumber />
              <th scope="col">state</th>
            </tr>
          </thead>
          <tbody>
            {order.map(row => (
              <VmRow key={row.vm.target} row={row} now={now} sight={sight} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

interface HeadProps {
  readonly column: Column
  readonly label: string
  readonly sorting: Sorting
  readonly sort: (sorting: Sorting) => void
  readonly isNumber?: boolean
}

function Head({ column, label, sorting, sort, isNumber = false }: HeadProps) {
  const isSorted = sorting.column === column
  const isDescending = isSorted ? !sorting.isDescending : column !== 'name'
  return (
    <th
      scope="col"
      class={`head-${column} ${isNumber ? 'number' : ''}`}
      aria-sort={isSorted ? (sorting.isDescending ? 'descending' : 'ascending') : 'none'}
    >
      <button type="button" class="sort" onClick={() => sort({ column, isDescending })}>
        {label}
        <span aria-hidden="true">{isSorted ? (sorting.isDescending ? ' ▾' : ' ▴') : ''}</span>
      </button>
    </th>
  )
}

interface VmRowProps {
  readonly row: Row
  readonly now: number
  readonly sight: Sight
}

function VmRow({ row: { vm, trend, verdict, why }, now, sight }: VmRowProps) {
  const { last, target, name, memoryBytes } = vm
  const { kind, text } = statusOf(vm, now, sight)
  const isOld = kind !== 'measured'
  return (
    <tr class={isOld ? 'is-old' : ''} data-target={target}>
      <th scope="row" class="vm-name">
        <a href={vmLink(target)}>
          <Name text={name ?? target} />
        </a>
        {name !== undefined && (
          <span class="quiet target">
            <Name text={target} />
          </span>
        )}
      </th>
      <td class="number vm-rate" title={last === undefined ? '' : intervalText(last.interval)}>
        {last?.complete === false && (
          <span class="mark-incomplete" title="incomplete: a lower bound">
            ≥
          </span>
        )}
        {last === undefined ? (
          <span class="quiet">–</span>
        ) : (
          <RateFigure rate={last.bytesPerSecond} />
        )}
      </td>
      <td class="vm-trend">
        <Sparkline vm={vm} />
        <TrendText trend={trend} />
      </td>
      <td>
        {verdict === undefined ? (
          <span class="quiet" title={why === undefined ? '' : safe(why)}>
            {vm.curve === undefined
              ? 'no curve yet'
              : why === undefined
                ? 'predicting…'
                : NO_VERDICT}
          </span>
        ) : (
          <Verdict verdict={verdict} />
        )}
      </td>
      <td class="number vm-memory">{memoryBytes === undefined ? '' : memory(memoryBytes)}</td>
      <td class={`vm-state status-${kind}`}>
        <span class="status-sign" aria-hidden="true">
          {STATUS_SIGNS[kind]}
        </span>{' '}
        {text}
      </td>
    </tr>
  )
}

function RateFigure({ rate }: { rate: number }) {
  const { figure, unit } = rateParts(rate)
  return (
    <>
      <b>{figure}</b> <span class="unit">{unit}</span>
    </>
  )
}

const ARROWS = { rising: '↗', falling: '↘', steady: '→', unknown: '' } as const

export function TrendText({ trend: { direction, change } }: { trend: Trend }) {
  if (direction === 'unknown') return <span class="trend" />
  const percent = Math.round(Math.abs(change) * 100)
  const by = direction === 'steady' ? '' : percent > 999 ? ' by far' : ` ${percent} %`
  return (
    <span class={`trend trend-${direction}`}>
      <span aria-hidden="true">{ARROWS[direction]}</span> {direction}
      {by}
    </span>
  )
}

/** The rows in their order, which changes at once only if somebody sorts, or if a VM comes. */
function useSteadyOrder(
  rows: readonly Row[],
  sorting: Sorting,
  isHeld: { readonly current: boolean },
): Row[] {
  const kept = useRef<{ sorting: Sorting; at: number; targets: string[] }>(null)
  const [, redraw] = useReducer((count: number) => count + 1, 0)
  const before = kept.current
  const wanted = sorted(rows, sorting).map(({ vm }) => vm.target)
  const isDue = !isHeld.current && performance.now() - (before?.at ?? 0) >= SORT_MS
  if (before?.sorting !== sorting || before.targets.length !== rows.length || isDue)
    kept.current = { sorting, at: performance.now(), targets: wanted }
  const isLate = kept.current?.targets.join() !== wanted.join()
  useEffect(() => {
    if (!isLate) return undefined
    // Nothing else may happen that draws the page.
    const timer = setTimeout(() => redraw(undefined), SORT_MS)
    return () => clearTimeout(timer)
  })
  const byTarget = new Map(rows.map(row => [row.vm.target, row]))
  return (kept.current?.targets ?? []).flatMap(target => byTarget.get(target) ?? [])
}

function sorted(rows: readonly Row[], { column, isDescending }: Sorting): Row[] {
  const name = ({ vm }: Row): string => vm.name ?? vm.target
  const value = ({ vm, trend, verdict }: Row): number => {
    if (column === 'rate') return vm.last?.bytesPerSecond ?? -1
    if (column === 'trend') return trend.direction === 'unknown' ? -2 : trend.change
    if (column === 'memory') return vm.memoryBytes ?? -1
    return verdict === undefined ? -1 : ([0, 2, 1][verdictWords.indexOf(verdict)] ?? -1)
  }
  const sign = isDescending ? -1 : 1
  return [...rows].sort((a, b) => {
    const byName = name(a).localeCompare(name(b))
    if (column === 'name') return sign * byName
    return sign * (value(a) - value(b)) || byName
  })
}
