/** How the connection is, and what can be done about it. */

import { useState } from 'preact/hooks'
import { clock } from '../format.js'
import type { ConnectionState } from '../live/connection.js'
import type { Session } from '../session.js'

/** One line in the head of the page. */
export function Banner({ session }: { session: Session }) {
  const { connection, recording } = session
  if (recording !== undefined) return <p class="pill pill-quiet">recording</p>
  const { sign, text, kind } = wordsOf(connection)
  return (
    <p class={`pill pill-${kind}`} role="status" data-testid="connection">
      <span aria-hidden="true">{sign}</span> {text}
      {connection.kind === 'lost' && (
        <button type="button" class="link" onClick={() => session.reconnect()}>
          Try now
        </button>
      )}
    </p>
  )
}

function wordsOf(connection: ConnectionState): { sign: string; text: string; kind: string } {
  switch (connection.kind) {
    case 'connecting':
      return { sign: '○', text: 'connecting…', kind: 'quiet' }
    case 'open':
      if (connection.source === 'recording') return { sign: '▪', text: 'recording', kind: 'quiet' }
      return connection.caughtUp
        ? { sign: '●', text: 'live', kind: 'good' }
        : { sign: '◐', text: 'reading what was missed…', kind: 'quiet' }
    case 'lost':
      return {
        sign: '!',
        text: `no connection since ${clock(connection.since)}, trying again`,
        kind: 'warn',
      }
    case 'token':
      return { sign: '!', text: 'a token is needed', kind: 'warn' }
    case 'failed':
      return { sign: '✕', text: 'failed', kind: 'bad' }
  }
}

/** The whole page, while there is nothing else to show. */
export function Waiting({ session }: { session: Session }) {
  const { connection, recording } = session
  if (recording !== undefined)
    return (
      <Blank title="The recording is empty">
        <p>It has no events. A recording of a server has a line for each measurement.</p>
      </Blank>
    )
  switch (connection.kind) {
    case 'connecting':
      return (
        <Blank title="Connecting…">
          <p>The page asks the server for its figures.</p>
        </Blank>
      )
    case 'open':
      return (
        <Blank title="No VM is served">
          <p>
            The server has no target now. With <code>serve --config</code> a VM appears here as soon
            as it runs.
          </p>
        </Blank>
      )
    case 'lost':
      return (
        <Blank title="No connection">
          <p>
            No answer from the server since {clock(connection.since)}. The page tries again at{' '}
            {clock(connection.retryAt)}.
          </p>
          <p>
            Is <code>dirtyrate serve</code> still running?
          </p>
          <button type="button" class="primary" onClick={() => session.reconnect()}>
            Try now
          </button>
        </Blank>
      )
    case 'token':
      return <TokenForm session={session} wasRefused={session.wasRefused} />
    case 'failed':
      return (
        <Blank title="The page cannot go on">
          <p role="alert">{connection.why}</p>
          <button type="button" class="primary" onClick={() => location.reload()}>
            Load the page again
          </button>
        </Blank>
      )
  }
}

function Blank({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return (
    <section class="card blank">
      <h1>{title}</h1>
      {children}
    </section>
  )
}

function TokenForm({ session, wasRefused }: { session: Session; wasRefused: boolean }) {
  const [token, setToken] = useState('')
  return (
    <Blank title="This server needs its token">
      <form
        onSubmit={event => {
          event.preventDefault()
          session.useToken(token.trim())
        }}
      >
        <p>
          It is in the file of <code>--token-file</code>, or in <code>DIRTYRATE_TOKEN</code>. The
          page keeps it until this tab is closed.
        </p>
        <label>
          Token{' '}
          <input
            type="password"
            autocomplete="off"
            required
            value={token}
            onInput={event => setToken(event.currentTarget.value)}
          />
        </label>{' '}
        <button type="submit" class="primary">
          Connect
        </button>
        {wasRefused && (
          <p class="error" role="alert">
            The server did not take this token.
          </p>
        )}
      </form>
    </Blank>
  )
}
