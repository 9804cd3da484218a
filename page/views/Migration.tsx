/** What a live migration of the VM would do: the verdict, the matrix, and the ways out. */

import type { MatrixCell } from '../../ts/prediction/matrix.js'
import type { MigrationPrediction } from '../../ts/prediction/migration.js'
import { CurveChart } from '../charts/CurveChart.js'
import {
  ago,
  bandwidth,
  count,
  duration,
  figure,
  measuredSize,
  safe,
  sentence,
  wayFigures,
} from '../format.js'
import type { Link } from '../prediction/tasks.js'
import type { Predicted } from '../prediction/use-prediction.js'
import type { Vm } from '../state/state.js'
import { LinkControls } from './LinkControls.js'
import { Verdict } from './Verdict.js'

interface MigrationProps {
  readonly vm: Vm
  readonly now: number
  readonly link: Link
  readonly changeLink: (link: Link) => void
  readonly predicted: Predicted
  /** Undefined where nothing can be measured: in a recording. */
  readonly measureCurve: (() => void) | undefined
  readonly isMeasuring: boolean
  readonly measureRefusal: string | undefined
}

export function Migration(props: MigrationProps) {
  const { vm, now, link, changeLink, predicted, measureCurve, isMeasuring, measureRefusal } = props
  const { curve, curveAt } = vm
  const { prediction, matrix, error, isOld } = predicted
  return (
    <section class="card migration" aria-labelledby="migration">
      <header class="card-head">
        <h2 id="migration">Live migration</h2>
        {curveAt !== undefined && (
          <p class="quiet">by the curve that was measured {ago(now - curveAt)}</p>
        )}
        {measureCurve !== undefined && (
          <button type="button" class="primary" onClick={measureCurve} disabled={isMeasuring}>
            {isMeasuring ? 'Measuring a curve…' : 'Measure a curve now'}
          </button>
        )}
      </header>
      {measureRefusal !== undefined && (
        <p class="error" role="alert">
          {safe(measureRefusal)}
        </p>
      )}
      <LinkControls link={link} change={changeLink} />
      {curve === undefined ? (
        <p class="empty">
          There is no curve yet. A prediction needs one: it says how many distinct pages the guest
          dirties in windows of several lengths.
        </p>
      ) : (
        <>
          {error !== undefined && (
            <p class="error" role="alert">
              {error.message}. {error.hint}
            </p>
          )}
          <div class={isOld ? 'predicted is-old' : 'predicted'} aria-busy={isOld}>
            {prediction !== undefined && <Figures prediction={prediction} />}
            {prediction === undefined && error === undefined && (
              <p class="empty" role="status">
                Predicting…
              </p>
            )}
          </div>
          <div class="two">
            <section aria-labelledby="curve">
              <h3 id="curve">Curve</h3>
              <CurveChart curve={curve} bytesPerSecond={link.bytesPerSecond} />
            </section>
            <section aria-labelledby="matrix">
              <h3 id="matrix">Downtimes and bandwidths</h3>
              <Matrix
                rows={matrix}
                link={link}
                choose={changeLink}
                isImpossible={error !== undefined}
              />
            </section>
          </div>
          {prediction !== undefined && <WaysOut prediction={prediction} />}
        </>
      )}
    </section>
  )
}

function Figures({ prediction }: { prediction: MigrationPrediction }) {
  const { verdict, totalMs, downtimeMs, bytes, passes, decision, phases } = prediction
  const { leastDowntimeMs, leastBandwidthBytesPerSecond } = prediction
  return (
    <>
      <p class="verdict-line" role="status" data-testid="verdict">
        <Verdict verdict={verdict} /> <span>{sentence(prediction)}</span>
      </p>
      <dl class="figures">
        {verdict !== 'stalls' && (
          <>
            <Fact name="total time" text={figure(totalMs, duration)} />
            <Fact name="downtime" text={figure(downtimeMs, duration)} />
            <Fact name="bytes" text={figure(bytes, measuredSize)} />
            <Fact name="passes" text={figure(passes, value => count(Math.round(value)))} />
          </>
        )}
        <Fact name="least downtime" text={figure(leastDowntimeMs, duration)} />
        <Fact name="least bandwidth" text={figure(leastBandwidthBytesPerSecond, bandwidth)} />
        {decision !== undefined && <Fact name="what decides" text={decision.message} />}
        {phases?.map(({ rounds, share, verdict: one }) => (
          <Fact
            key={`${rounds} ${share} ${one}`}
            name="part of the time"
            text={`${one} for ${Math.round(share * 100)} % (${rounds} rounds)`}
          />
        ))}
      </dl>
    </>
  )
}

function Fact({ name, text }: { name: string; text: string }) {
  const [main = '', bounds] = text.split(/ (?=\()/)
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {main} {bounds !== undefined && <span class="quiet">{bounds}</span>}
      </dd>
    </div>
  )
}

interface MatrixProps {
  readonly rows: readonly (readonly MatrixCell[])[]
  readonly link: Link
  readonly choose: (link: Link) => void
  /** Whether nothing can be predicted from the curve. */
  readonly isImpossible: boolean
}

const SIGN = { converges: '✓', stalls: '✕', uncertain: '?' } as const

function Matrix({ rows, link, choose, isImpossible }: MatrixProps) {
  const short = (bytesPerSecond: number): string => bandwidth(bytesPerSecond).replace(/ \(.*/, '')
  const [first] = rows
  if (first === undefined)
    return <p class="empty">{isImpossible ? 'It cannot be predicted.' : 'Predicting…'}</p>
  return (
    <div class="scroll">
      <table class="matrix">
        <caption class="quiet">A time is the total time of a migration that ends.</caption>
        <thead>
          <tr>
            <th scope="col">downtime</th>
            {first.map(({ bandwidthBytesPerSecond }) => (
              <th scope="col" key={bandwidthBytesPerSecond}>
                {short(bandwidthBytesPerSecond)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={row[0]?.downtimeLimitMs}>
              <th scope="row">{duration(row[0]?.downtimeLimitMs ?? 0)}</th>
              {row.map(cell => {
                const { verdict, bandwidthBytesPerSecond, downtimeLimitMs, totalMs } = cell
                const isChosen =
                  bandwidthBytesPerSecond === link.bytesPerSecond &&
                  Math.abs((downtimeLimitMs ?? 0) - link.downtimeMs) < 1e-6
                const total = totalMs.value
                const shown = verdict === 'converges' && total !== null ? duration(total) : verdict
                return (
                  <td key={bandwidthBytesPerSecond} class={isChosen ? 'is-chosen' : ''}>
                    <button
                      type="button"
                      class={`cell verdict-${verdict}`}
                      aria-pressed={isChosen}
                      aria-label={`${shown}: ${verdict} with ${duration(downtimeLimitMs ?? 0)} at ${short(bandwidthBytesPerSecond)}`}
                      onClick={() =>
                        choose({
                          bytesPerSecond: bandwidthBytesPerSecond,
                          downtimeMs: downtimeLimitMs ?? link.downtimeMs,
                        })
                      }
                    >
                      <span aria-hidden="true">{SIGN[verdict]}</span> {shown}
                    </button>
                  </td>
                )
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function WaysOut({ prediction: { waysOut, verdict } }: { prediction: MigrationPrediction }) {
  return (
    <section aria-labelledby="ways">
      <h3 id="ways">Ways out</h3>
      {waysOut.length === 0 ? (
        <p class="quiet">
          {verdict === 'converges' ? 'None is needed: the migration ends.' : 'There is none.'}
        </p>
      ) : (
        <ul class="ways">
          {waysOut.map(way => (
            <li key={way.kind}>
              <b class="way-kind">{way.kind}</b>
              <Verdict verdict={way.verdict} />
              <span class="way-figures">{wayFigures(way)}.</span>
              <span class="quiet">{way.cost}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
