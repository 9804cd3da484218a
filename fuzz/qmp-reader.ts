/** The part of the QMP server that scripts/test/fuzz-qmp.mjs fuzzes. */

export { JsonNumber, jsonText } from '../ts/qmp/server/json.js'
export { RequestStream, RequestTooLongError } from '../ts/qmp/server/requests.js'
