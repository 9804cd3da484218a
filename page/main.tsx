/** The page begins here. */

import { render } from 'preact'
import 'uplot/dist/uPlot.min.css'
import './styles/base.css'
import './styles/controls.css'
import './styles/overview.css'
import './styles/charts.css'
import './styles/heat.css'
import './styles/migration.css'
import './styles/sizes.css'
import { Predictor } from './prediction/predictor.js'
import { PredictorContext } from './prediction/use-prediction.js'
import { Session } from './session.js'
import { keptTheme, themeOf } from './settings.js'
import { App } from './views/App.js'

document.documentElement.dataset.theme = themeOf(keptTheme())

const predictor = new Predictor(
  () => new Worker(new URL('./prediction/worker.ts', import.meta.url), { type: 'module' }),
)

const session = new Session({
  open(after, run, token) {
    const url = new URL('live', location.href)
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
    url.hash = ''
    if (run !== undefined) {
      url.searchParams.set('after', String(after))
      url.searchParams.set('run', run)
    }
    return new WebSocket(url, token === undefined ? [] : [token])
  },
  async needsToken(token) {
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` }
    const { status } = await fetch('metrics', { method: 'HEAD', headers })
    return status === 401
  },
})
session.start()

const root = document.getElementById('page')
if (root !== null)
  render(
    <PredictorContext.Provider value={predictor}>
      <App session={session} />
    </PredictorContext.Provider>,
    root,
  )
