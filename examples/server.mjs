/**
 * Inside a server. An HTTP server on loopback measures on request. If a client goes away, its
 * measurement ends. Several requests at a time each get their own right answer. The example asks
 * its own server twice, and ends.
 *
 *     $ node examples/server.mjs
 *     200 {"pages":2562,"bytesPerSecond":104857600,"complete":true}
 *     400 {"code":"ERR_ARGUMENT","message":"window: '100' has no unit"}
 */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { openTarget } from 'dirtyrate'

const target = await openTarget('guest:stride,rate=100MiB/s')
const server = createServer(async (request, response) => {
  const window = new URL(request.url ?? '', 'http://localhost').searchParams.get('window') ?? '1s'
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  try {
    const measurement = await target.measureDirtyRate({ window, signal: gone.signal })
    const { pages, bytesPerSecond, complete } = measurement
    response.end(JSON.stringify({ pages, bytesPerSecond: Math.round(bytesPerSecond), complete }))
  } catch (error) {
    const { code, message } = Object(error)
    response.writeHead(code === 'ERR_ARGUMENT' ? 400 : 500).end(JSON.stringify({ code, message }))
  }
})
try {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = Object(server.address())
  for (const window of ['100ms', '100']) {
    const response = await fetch(`http://127.0.0.1:${port}/?window=${window}`)
    console.log(response.status, await response.text())
  }
} finally {
  server.close()
  server.closeAllConnections()
  await target.close()
}
