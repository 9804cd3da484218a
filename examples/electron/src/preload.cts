/** The bridge: the one thing that the page may ask for. A sandboxed preload is CommonJS. */

import electron = require('electron')

electron.contextBridge.exposeInMainWorld('dirtyrate', {
  snapshot: () => electron.ipcRenderer.invoke('snapshot'),
})
