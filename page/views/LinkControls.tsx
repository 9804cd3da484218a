/** The bandwidth and the downtime of a migration: a slider and a field for each. */

import { useEffect, useId, useState } from 'preact/hooks'
import { isDirtyRateError } from '../../ts/ground/errors.js'
import { parseMigrationOptions } from '../../ts/prediction/options.js'
import { bandwidth, duration } from '../format.js'
import type { Link } from '../prediction/tasks.js'

/** A slider goes by a twentieth of a power of ten. */
const STEPS_PER_DECADE = 20

interface SliderProps {
  readonly label: string
  readonly value: number
  readonly least: number
  readonly most: number
  readonly show: (value: number) => string
  /** Throws for a text that is none. */
  readonly parse: (text: string) => number
  readonly change: (value: number) => void
}

const toStep = (value: number): number => Math.log10(value) * STEPS_PER_DECADE
/** Two digits are enough for a slider. */
const fromStep = (step: number): number => Number((10 ** (step / STEPS_PER_DECADE)).toPrecision(2))

function LogSlider({ label, value, least, most, show, parse, change }: SliderProps) {
  const id = useId()
  const [text, setText] = useState(show(value))
  const [error, setError] = useState<string | undefined>()
  useEffect(() => {
    setText(show(value))
    setError(undefined)
  }, [value])
  const take = (): void => {
    try {
      if (text.trim() !== show(value)) change(parse(text))
      setError(undefined)
    } catch (thrown) {
      if (!isDirtyRateError(thrown)) throw thrown
      setError([thrown.message, thrown.hint].filter(Boolean).join('. '))
    }
  }
  return (
    <div class="slider">
      <label for={`${id}range`}>{label}</label>
      <input
        type="text"
        class="slider-text"
        value={text}
        size={11}
        aria-label={`${label}, with its unit`}
        aria-invalid={error !== undefined}
        aria-describedby={error === undefined ? undefined : `${id}error`}
        onInput={event => setText(event.currentTarget.value)}
        onBlur={take}
        onKeyDown={event => {
          if (event.key === 'Enter') take()
        }}
      />
      <input
        id={`${id}range`}
        type="range"
        min={toStep(least)}
        max={toStep(most)}
        step={1}
        value={Math.round(toStep(value))}
        aria-valuetext={show(value)}
        onInput={event => change(fromStep(Number(event.currentTarget.value)))}
      />
      {error !== undefined && (
        <p class="error" id={`${id}error`} role="alert">
          {error}
        </p>
      )}
    </div>
  )
}

interface LinkControlsProps {
  readonly link: Link
  readonly change: (link: Link) => void
}

/** In bits and in milliseconds, so that a step is round in the unit that is shown. */
export function LinkControls({ link, change }: LinkControlsProps) {
  const { bytesPerSecond, downtimeMs } = link
  return (
    <div class="sliders">
      <LogSlider
        label="Bandwidth"
        value={bytesPerSecond * 8}
        least={1e7}
        most={1e12}
        show={bits => bandwidth(bits / 8).replace(/ \(.*/, '')}
        parse={text =>
          parseMigrationOptions({ bandwidth: text, downtime: downtimeMs }, option => option)
            .bytesPerSecond * 8
        }
        change={bits => change({ ...link, bytesPerSecond: bits / 8 })}
      />
      <LogSlider
        label="Downtime"
        value={downtimeMs}
        least={1}
        most={1e5}
        show={duration}
        parse={text => {
          const { downtime } = parseMigrationOptions({ bandwidth: bytesPerSecond, downtime: text })
          // No limit is as much as the longest one.
          return Math.min(downtime * 1000, 86_400_000)
        }}
        change={ms => change({ ...link, downtimeMs: ms })}
      />
    </div>
  )
}
