// npm run score: how well a predictor tells what real migrations did. It reads the recorded
// migrations, benches/migrations/*.json, predicts each one from each of its curves, and prints a
// table and the distribution of the errors.
//
//   npm run score                      this project's predictor
//   npm run score -- --by MODULE       another one: a module that exports
//                                      predict(curve, { bandwidth, downtime, memory,
//                                      linkBandwidth }), which returns { verdict,
//                                      totalMs: { value, low, high } }
//   npm run score -- --json            the rows as one JSON document
//
// How many pages are zero is what a look from outside has found right before each migration. Curves
// of QEMU do not have it, and a guest goes on filling its memory after it was measured.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { predictMigration } from 'dirtyrate/prediction'
import { commandLine } from '../../scripts/command-line.mjs'

const folder = dirname(fileURLToPath(import.meta.url))
const GIB = 2 ** 30

const { values } = commandLine(import.meta.url, {
  options: { by: { type: 'string' }, json: { type: 'boolean', default: false } },
})

/** This project's rules: by chunks of 1 GiB, and as if all memory were one chunk. */
const own = {
  chunks: (curve, options) => predictMigration(curve, { ...options, profile: 'qemu' }),
  'one chunk': (curve, options) =>
    predictMigration(withoutRegions(curve), {
      ...options,
      profile: { clearing: 'pass-start' },
    }),
}

const predictors =
  values.by === undefined
    ? own
    : { [values.by]: (await import(pathToFileURL(resolve(values.by)).href)).predict }

function withoutRegions({ regions: _, ...curve }) {
  return curve
}

const files = readdirSync(folder)
  .filter(name => name.endsWith('.json'))
  .sort()
const rows = files.flatMap(file => {
  const machine = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  return Object.entries(machine.curves).flatMap(([measured, curve]) =>
    Object.entries(predictors).flatMap(([by, predict]) =>
      machine.migrations.map(migration =>
        scored(
          machine,
          measured,
          by,
          migration,
          predict(
            { ...curve, memory: migration.memory },
            {
              bandwidth: migration.bandwidthBytesPerSecond,
              downtime: migration.downtimeMs,
              memory: machine.memoryBytes,
              linkBandwidth: machine.linkBytesPerSecond,
            },
          ),
        ),
      ),
    ),
  )
})

/** A migration beside its prediction. */
function scored(machine, measured, by, migration, { verdict, totalMs, passes, bytes, downtimeMs }) {
  const converged = migration.outcome === 'completed'
  const error =
    converged && verdict === 'converges' && totalMs.value !== null
      ? totalMs.value / migration.totalMs - 1
      : null
  return {
    machine: machine.name,
    memoryBytes: machine.memoryBytes,
    measured,
    by,
    bandwidthBytesPerSecond: migration.bandwidthBytesPerSecond,
    downtimeLimitMs: migration.downtimeMs,
    outcome: migration.outcome,
    verdict,
    isRight: verdict === 'uncertain' ? null : (verdict === 'converges') === converged,
    measuredMs: migration.totalMs,
    totalMs,
    error,
    isWithin:
      converged && totalMs?.low != null
        ? totalMs.low <= migration.totalMs && migration.totalMs <= (totalMs.high ?? Infinity)
        : null,
    ...(passes === undefined ? {} : { passes }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
  }
}

function quantile(sorted, share) {
  if (sorted.length === 0) return Number.NaN
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? sorted[0]
}

/** The figures of the aim, for some rows. */
function summary(of) {
  const errors = of
    .flatMap(({ error }) => (error === null ? [] : [Math.abs(error)]))
    .sort((a, b) => a - b)
  const decided = of.filter(({ isRight }) => isRight !== null)
  return {
    migrations: of.length,
    uncertain: of.length - decided.length,
    wrong: decided.filter(({ isRight }) => !isRight).length,
    medianError: quantile(errors, 0.5),
    error90: quantile(errors, 0.9),
  }
}

if (values.json) {
  console.log(JSON.stringify(rows))
} else {
  const seconds = ms => (ms === null || ms === undefined ? '-' : (ms / 1000).toFixed(1))
  for (const row of rows) {
    const { low, value, high } = row.totalMs ?? {}
    console.log(
      [
        row.machine.padEnd(32),
        row.measured.padEnd(10),
        row.by.padEnd(9),
        `${Math.round(row.bandwidthBytesPerSecond / 1e6)} MB/s`.padStart(8),
        `${row.downtimeLimitMs} ms`.padStart(7),
        row.outcome.padEnd(9),
        `${row.verdict}${row.isRight === false ? ' WRONG' : ''}`.padEnd(16),
        `${seconds(row.measuredMs)} s`.padStart(7),
        `${seconds(value)} s (${seconds(low)} to ${seconds(high)})`,
        row.error === null ? '' : `${(100 * row.error).toFixed(1)} %`,
      ].join('  '),
    )
  }
  console.log()
  for (const by of Object.keys(predictors))
    for (const measured of [...new Set(rows.map(row => row.measured))])
      for (const gib of [undefined, ...new Set(rows.map(row => row.memoryBytes / GIB))]) {
        const { migrations, uncertain, wrong, medianError, error90 } = summary(
          rows.filter(
            row =>
              row.by === by &&
              row.measured === measured &&
              (gib === undefined || row.memoryBytes === gib * GIB),
          ),
        )
        const percent = share => (Number.isNaN(share) ? '-' : `${(100 * share).toFixed(1)} %`)
        console.log(
          `${by.padEnd(9)}  ${measured.padEnd(10)}  ${(gib === undefined ? 'all' : `${gib} GiB`).padEnd(5)}  ${String(migrations).padStart(3)} migrations  ${uncertain} uncertain  ${wrong} wrong  total time: median ${percent(medianError)}, 90th percentile ${percent(error90)}`,
        )
      }
}
