// The mutation gate is scripts/mutation/gate.mjs. This file only keeps its former path alive while branches that call it are open.

import './mutation/gate.mjs'
