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
import { openLive } from './live/open.js'
import { makeWorker } from './prediction/make-worker.js'
import { Predictor } from './prediction/predictor.js'
import { PredictorContext } from './prediction/use-prediction.js'
import { Session } from './session.js'
import { keptTheme, themeOf } from './settings.js'
import { App } from './views/App.js'

document.documentElement.dataset.theme = themeOf(keptTheme())

const predictor = new Predictor(makeWorker)
const session = new Session({ open: openLive })
session.start()

const root = document.getElementById('page')
if (root !== null)
  render(
    <PredictorContext.Provider value={predictor}>
      <App session={session} />
    </PredictorContext.Provider>,
    root,
  )
