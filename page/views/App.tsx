/** The page: its head, how the connection is, and the overview or one VM. */

import { useEffect, useReducer, useState } from 'preact/hooks'
import { clock, safe } from '../format.js'
import type { Session } from '../session.js'
import { keepLink, keepTheme, keptLink, keptTheme, type ThemeChoice, themeOf } from '../settings.js'
import { Banner, Waiting } from './Connection.js'
import { Overview } from './Overview.js'
import { OVERVIEW, useRoute } from './routes.js'
import { VmView } from './VmView.js'
import type { Sight } from './vm-status.js'

const NEXT_THEME: Readonly<Record<ThemeChoice, ThemeChoice>> = {
  auto: 'light',
  light: 'dark',
  dark: 'auto',
}

export function App({ session }: { session: Session }) {
  const [, draw] = useReducer((count: number) => count + 1, 0)
  useEffect(() => {
    const end = session.subscribe(() => draw(undefined))
    // What has happened since the first drawing.
    draw(undefined)
    return end
  }, [session])
  const [link, setLink] = useState(keptLink)
  const [choice, theme, setChoice] = useTheme()
  const route = useRoute()
  const { state, connection, recording } = session
  const vms = [...state.vms.values()]
  const [only] = vms
  const isAlone = vms.length === 1
  const vm = route !== undefined ? state.vms.get(route) : isAlone ? only : undefined
  const isLive =
    recording === undefined && connection.kind === 'open' && connection.source === 'live'
  const now = state.lastAt
  const sight = sightOf(session)
  const change = (next: typeof link): void => {
    setLink(next)
    keepLink(next)
  }
  const title = vm === undefined ? '' : `${safe(vm.name ?? vm.target)} · `
  useEffect(() => {
    document.title = `${title}dirtyrate`
  }, [title])
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the figures
      </button>
      <header class="top">
        <a class="brand" href={OVERVIEW}>
          dirtyrate
        </a>
        <Banner session={session} />
        <div class="top-tools">
          <label class="button file">
            Open a recording
            <input
              type="file"
              accept=".jsonl,.json,.ndjson"
              onChange={event => {
                const [file] = event.currentTarget.files ?? []
                if (file !== undefined) void session.openRecording(file)
                event.currentTarget.value = ''
              }}
            />
          </label>
          <button type="button" onClick={() => setChoice(NEXT_THEME[choice])}>
            Theme: {choice}
          </button>
        </div>
      </header>
      {recording !== undefined && (
        <p class="note recording" role="status">
          <span>
            Recording <b>{safe(recording.name)}</b>
            {vms.length > 0 && `, until ${new Date(now).toLocaleDateString('en-CA')} ${clock(now)}`}
            {recording.unreadable > 0 && `. Lines that cannot be read: ${recording.unreadable}`}
            {recording.leftOut > 0 &&
              `. It has too many targets: ${recording.leftOut} events are left out`}
          </span>
          <button type="button" onClick={() => session.closeRecording()}>
            Close it
          </button>
        </p>
      )}
      {session.opening !== undefined && (
        <p class="note" role="status">
          Reading {safe(session.opening.name)} …
        </p>
      )}
      {session.recordingError !== undefined && (
        <p class="note note-bad" role="alert">
          {safe(session.recordingError)}
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {vm !== undefined ? (
          <VmView
            key={vm.target}
            vm={vm}
            now={now}
            isLive={isLive || (recording === undefined && connection.kind === 'lost')}
            sight={sight}
            isAlone={isAlone}
            theme={theme}
            link={link}
            changeLink={change}
            measureCurve={isLive && !vm.isGone ? () => session.measureCurve(vm.target) : undefined}
            isMeasuring={session.measuring.has(vm.target)}
            measureRefusal={session.refusals.get(vm.target)}
          />
        ) : vms.length > 0 ? (
          <>
            {route !== undefined && (
              <p class="note">The server has not named a VM at {safe(route)}.</p>
            )}
            <Overview vms={vms} now={now} sight={sight} link={link} changeLink={change} />
          </>
        ) : (
          <Waiting session={session} />
        )}
      </main>
    </>
  )
}

function sightOf({ connection, recording }: Session): Sight {
  if (recording !== undefined) return 'recording'
  if (connection.kind === 'open') return connection.source
  return connection.kind === 'connecting' ? 'live' : 'lost'
}

function useTheme(): [ThemeChoice, ReturnType<typeof themeOf>, (choice: ThemeChoice) => void] {
  const [choice, setChoice] = useState(keptTheme)
  const [theme, setTheme] = useState(() => themeOf(choice))
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)')
    const apply = (): void => {
      const now = themeOf(choice)
      document.documentElement.dataset.theme = now
      setTheme(now)
    }
    apply()
    media.addEventListener('change', apply)
    return () => media.removeEventListener('change', apply)
  }, [choice])
  return [
    choice,
    theme,
    next => {
      // Charts take their colours from the style sheet, so it has to know first.
      document.documentElement.dataset.theme = themeOf(next)
      keepTheme(next)
      setChoice(next)
    },
  ]
}
