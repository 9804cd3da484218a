/** One VM: how fast it dirties its memory, where, and what a migration of it would do. */

import { useMemo, useState } from 'preact/hooks'
import { RateChart } from '../charts/RateChart.js'
import { VcpuChart } from '../charts/VcpuChart.js'
import { intervalText, memory, rateParts, safe, windowText } from '../format.js'
import { HeatMap } from '../heat/HeatMap.js'
import type { Theme } from '../heat/palette.js'
import type { Link } from '../prediction/tasks.js'
import { usePrediction } from '../prediction/use-prediction.js'
import type { Vm } from '../state/state.js'
import { trendOf } from '../state/trend.js'
import { Migration } from './Migration.js'
import { Name } from './Name.js'
import { Notices } from './Notices.js'
import { TrendText } from './Overview.js'
import { OVERVIEW } from './routes.js'
import { StateNote } from './StateNote.js'
import { TimeControls, useTimeView } from './TimeControls.js'
import { NO_VERDICT, Verdict } from './Verdict.js'
import { type Sight, STATUS_SIGNS, statusOf } from './vm-status.js'

interface VmViewProps {
  readonly vm: Vm
  readonly now: number
  readonly isLive: boolean
  readonly sight: Sight
  readonly isAlone: boolean
  readonly theme: Theme
  readonly link: Link
  readonly changeLink: (link: Link) => void
  readonly measureCurve: (() => void) | undefined
  readonly isMeasuring: boolean
  /** Why the server measures no curve. */
  readonly measureRefusal: string | undefined
}

export function VmView(props: VmViewProps) {
  const {
    vm,
    now,
    isLive,
    sight,
    isAlone,
    theme,
    link,
    changeLink,
    measureCurve,
    isMeasuring,
    measureRefusal,
  } = props
  const time = useTimeView(vm, now, isLive)
  const predicted = usePrediction(vm.curve, link, vm.last?.vcpus)
  const [showsVcpus, setShowsVcpus] = useState(true)
  const hasVcpus = (vm.last?.vcpus?.length ?? 0) > 0
  return (
    <>
      <header class="vm-head">
        {!isAlone && (
          <a class="back" href={OVERVIEW}>
            ← All VMs
          </a>
        )}
        <h1>
          <Name text={vm.name ?? vm.target} />
        </h1>
        <p class="facts">
          {vm.name !== undefined && (
            <span class="target">
              <Name text={vm.target} />
            </span>
          )}
          {vm.memoryBytes !== undefined && <span>{memory(vm.memoryBytes)} of memory</span>}
          {vm.vcpus !== undefined && (
            <span>
              {vm.vcpus} vCPU{vm.vcpus === 1 ? '' : 's'}
            </span>
          )}
          {vm.software !== undefined && <span>{safe(vm.software)}</span>}
        </p>
      </header>
      <Answer
        vm={vm}
        now={now}
        sight={sight}
        verdict={predicted.prediction?.verdict}
        pending={
          vm.curve === undefined
            ? 'no curve yet'
            : predicted.error === undefined
              ? 'predicting…'
              : NO_VERDICT
        }
      />
      <StateNote vm={vm} />
      <section class="card" aria-labelledby="rate">
        <header class="card-head">
          <h2 id="rate">Dirty rate</h2>
          <TimeControls view={time} isLive={isLive} />
        </header>
        {vm.moments.length === 0 ? (
          <p class="empty">No window was measured yet.</p>
        ) : (
          <RateChart vm={vm} time={time.range} theme={theme} onRange={time.choose} />
        )}
        {hasVcpus && vm.last !== undefined && (
          <details
            class="vcpus"
            open={showsVcpus}
            onToggle={event => setShowsVcpus(event.currentTarget.open)}
          >
            <summary>
              <h3>Per vCPU</h3>
            </summary>
            {showsVcpus && <VcpuChart vm={vm} last={vm.last} time={time.range} theme={theme} />}
          </details>
        )}
        {vm.cells.length > 0 ? (
          <HeatMap vm={vm} time={time.range} theme={theme} onRange={time.choose} />
        ) : (
          vm.last !== undefined && (
            <p class="quiet no-heat">
              There is no heat map: this target cannot tell where its dirty pages are.
            </p>
          )
        )}
      </section>
      <Migration
        vm={vm}
        now={now}
        link={link}
        changeLink={changeLink}
        predicted={predicted}
        measureCurve={measureCurve}
        isMeasuring={isMeasuring}
        measureRefusal={measureRefusal}
      />
      <Notices vm={vm} />
    </>
  )
}

interface AnswerProps {
  readonly vm: Vm
  readonly now: number
  readonly sight: Sight
  readonly verdict: Parameters<typeof Verdict>[0]['verdict'] | undefined
  /** What stands in the place of the verdict. */
  readonly pending: string
}

const STATE_WORDS = {
  waiting: 'waiting',
  paused: 'paused',
  failed: 'failed',
  migrating: 'migrating',
  gone: 'not served',
} as const

/** The answer at one look. */
function Answer({ vm, now, sight, verdict, pending }: AnswerProps) {
  const { last } = vm
  const { kind, text, isNow } = statusOf(vm, now, sight)
  const trend = useMemo(() => trendOf(vm.moments), [vm.moments])
  const { figure, unit } =
    last === undefined ? { figure: '–', unit: '' } : rateParts(last.bytesPerSecond)
  return (
    <div class="answer">
      <div class={kind === 'measured' ? 'answer-rate' : 'answer-rate is-old'}>
        <span class="answer-label">{isNow ? 'dirty rate now' : 'last dirty rate'}</span>
        <span class="answer-figure" data-testid="rate-now">
          {last?.complete === false && <span title="incomplete: a lower bound">≥ </span>}
          {figure} <span class="unit">{unit}</span>
        </span>
        <span class="quiet">
          {last === undefined
            ? ''
            : `${intervalText(last.interval)} · ${last.mode} · window of ${windowText(last.windowNs)}`}
        </span>
      </div>
      <div class="answer-part">
        <span class="answer-label">trend</span>
        <span class="answer-word">
          {trend.direction === 'unknown' ? (
            <span class="quiet">not yet</span>
          ) : (
            <TrendText trend={trend} />
          )}
        </span>
      </div>
      <div class="answer-part">
        <span class="answer-label">live migration</span>
        <span class="answer-word">
          {verdict !== undefined ? (
            <Verdict verdict={verdict} />
          ) : (
            <span class="quiet">{pending}</span>
          )}
        </span>
      </div>
      <div class="answer-part">
        <span class="answer-label">state</span>
        <span class={`answer-word status-${kind}`} data-testid="status">
          <span class="status-sign" aria-hidden="true">
            {STATUS_SIGNS[kind]}
          </span>{' '}
          {kind === 'measured' || kind === 'overdue' ? text : STATE_WORDS[kind]}
        </span>
      </div>
    </div>
  )
}
